package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	volumesFolder   = "volumes"
	snapshotsFolder = "snapshots"
)

// image describes a volume or a snapshot; its bytes are the file "disk" beside it.
type image struct {
	Size    int64
	Block   bool
	Source  string // what a snapshot is of
	Created time.Time
}

// store keeps images as folders; one is there only when it is whole.
type store struct {
	sync.Mutex
	root   string
	staged map[string]string // volume -> the device or mount point through which its disk is written
}

func openStore(root string) (*store, error) {
	for _, kind := range []string{volumesFolder, snapshotsFolder} {
		if err := os.MkdirAll(filepath.Join(root, kind), 0o700); err != nil {
			return nil, err
		}
	}
	return &store{root: root, staged: map[string]string{}}, nil
}

func (s *store) folder(kind, id string) string { return filepath.Join(s.root, kind, filepath.Base(id)) }

func (s *store) disk(kind, id string) string { return filepath.Join(s.folder(kind, id), "disk") }

func (s *store) load(kind, id string) (image, error) {
	var found image
	body, err := os.ReadFile(filepath.Join(s.folder(kind, id), "image.json"))
	if err == nil {
		err = json.Unmarshal(body, &found)
	}
	return found, err
}

// create makes an image: empty where no disk is given, else that disk's copy, grown to the size.
func (s *store) create(kind, id, from string, wanted image) error {
	unfinished := s.folder(kind, id) + ".unfinished"
	if err := errors.Join(os.RemoveAll(unfinished), os.Mkdir(unfinished, 0o700)); err != nil {
		return err
	}
	disk := filepath.Join(unfinished, "disk")
	if from != "" {
		if err := run("cp", "--reflink=auto", "--sparse=always", from, disk); err != nil {
			return err
		}
	}
	if err := fit(disk, from == "", wanted); err != nil {
		return err
	}
	body, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(unfinished, "image.json"), body, 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, s.folder(kind, id))
}

// fit gives a disk its size, and the file system in it too.
func fit(disk string, empty bool, wanted image) error {
	file, err := os.OpenFile(disk, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	found, err := file.Stat()
	if err != nil {
		return err
	}
	before := found.Size()
	if err := file.Truncate(wanted.Size); err != nil {
		return err
	}
	switch {
	case wanted.Block:
		return nil
	case empty:
		return run("mkfs.ext4", "-q", "-m", "0", "-E", "root_owner=0:0", disk)
	case before < wanted.Size:
		// resize2fs wants a check first; the source may have been mounted.
		if err := run("e2fsck", "-fy", disk); err != nil {
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() > 1 { // 1: errors were found, and mended
				return err
			}
		}
		return run("resize2fs", disk)
	}
	return nil
}

// flush brings into a volume's disk what pods have written.
func (s *store) flush(volume string) error {
	path := s.staged[volume]
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if found, err := file.Stat(); err != nil || !found.IsDir() {
		return errors.Join(err, file.Sync())
	}
	return unix.Syncfs(int(file.Fd()))
}

func (s *store) remove(kind, id string) error { return os.RemoveAll(s.folder(kind, id)) }

func run(program string, arguments ...string) error {
	if said, err := exec.Command(program, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, said)
	}
	return nil
}
