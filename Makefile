# Each target installs what it needs (tools/setup.sh), outside the tree, and can be run again. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo demo-cluster test check bench soak crds image cluster-up cluster-down requirements clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 16

demo: ## the whole story on real parts, a few minutes (KEEP=1 leaves it running to look around)
	@tools/setup.sh demo python -m demo

demo-cluster: ## the story on a Kubernetes of this machine, without CDI and beside it (cold, the cluster is built first)
	@tools/setup.sh cluster python -m demo.cluster

test: ## all tests, with seconds per stage (STAGES="unit e2e" runs some; cold, a Kubernetes is built first)
	@tools/setup.sh test tools/stages.py $(STAGES)

check: ## ruff, mypy and the import contracts
	@tools/setup.sh python tools/stages.py check

bench: ## figures, as ratios against peers in the same run, most of an hour (python -m benchmarks NAME runs one)
	@tools/setup.sh bench python -m benchmarks

soak: ## an idle hour on a cluster: what is asked of the API server, and what is used (MINUTES=5 for less)
	@tools/setup.sh cluster python -m benchmarks.soak

crds: ## generate deploy/crds and the tables of docs/api.md from the models
	@tools/setup.sh python python -m dataimportcron.api.crds deploy/crds
	@tools/setup.sh python python -m dataimportcron.api.page docs/api.md

image: ## the container image, as an OCI archive, with its SBOM (FRESH=1 takes Debian's newest packages)
	@tools/setup.sh image python -m deploy.image $(if $(FRESH),--fresh)

cluster-up: ## a Kubernetes of one node on this machine, as the tests use it; prints how (cold it is built first, minutes)
	@tools/setup.sh cluster python -m tests.cluster up

cluster-down: ## end it, and leave nothing of it
	@tools/setup.sh cluster python -m tests.cluster down

requirements: ## pin the dependencies of pyproject.toml anew, with hashes
	@tools/setup.sh python uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --extra test pyproject.toml -o requirements.txt
	@echo hatchling | tools/setup.sh python uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements.txt pyproject.toml - -o deploy/requirements.txt

clean: ## remove what tools left in the tree, and this checkout's environments
	@tools/setup.sh clean
