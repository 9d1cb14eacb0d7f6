#!/usr/bin/env bash
# Builds a part of the test cluster from this folder's one go.mod, so that what the programs share is compiled once:
#
#     build.sh control-plane|node|own FOLDER
#
# Its parts are built one by one: tests that need no node need not wait for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
part=$1 folder=$2
# Go as it is installed, never one that it downloads; no C compiler, hence programs that run in an empty image too.
export GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-buildvcs=false
kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
containerd=$(go list -m -f '{{.Version}}' github.com/containerd/containerd/v2)
IFS=. read -r major minor _ <<<"${kubernetes#v}"
version=k8s.io/component-base/version

build() {
    go build -tags no_btrfs,no_devmapper,no_zfs -o "$folder/" -ldflags="-s -w \
        -X $version.gitVersion=$kubernetes -X $version.gitMajor=$major -X $version.gitMinor=$minor \
        -X github.com/containerd/containerd/v2/version.Version=${containerd#v}" "$@"
}

case $part in
control-plane)
    build k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl}
    go build -ldflags="-s -w" -o "$folder/etcd" go.etcd.io/etcd/server/v3
    ;;
node)
    build k8s.io/kubernetes/cmd/{kubelet,kube-proxy} \
        github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr} \
        github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner \
        github.com/kubernetes-csi/external-snapshotter/v8/cmd/{csi-snapshotter,snapshot-controller}
    # The snapshots' CRDs lie in the module that we take their client from.
    module=$(go list -m -f '{{.Dir}}' github.com/kubernetes-csi/external-snapshotter/client/v8)
    cat "$module"/config/crd/snapshot.storage.k8s.io_volumesnapshot*.yaml >"$folder/snapshot-crds.yaml"
    ;;
own) build ./coredns ./csidriver ./pause ;;
*)
    echo "build.sh: unknown part '$part'; expected control-plane, node or own" >&2
    exit 2
    ;;
esac
