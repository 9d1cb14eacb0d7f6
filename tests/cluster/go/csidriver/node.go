package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// nodeServer attaches a volume once per node (stage) and shows it to each pod (publish).
type nodeServer struct {
	csi.UnimplementedNodeServer
	store   *store
	node    string
	devices map[string]*os.File // of the volumes that are staged as devices: open, or they would detach
}

func (n *nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.node}, nil
}

func (n *nodeServer) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	response := &csi.NodeGetCapabilitiesResponse{}
	for _, each := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		rpc := &csi.NodeServiceCapability_RPC{Type: each}
		response.Capabilities = append(response.Capabilities,
			&csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{Rpc: rpc}})
	}
	return response, nil
}

func (n *nodeServer) NodeStageVolume(_ context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	n.store.Lock()
	defer n.store.Unlock()
	found, err := n.store.load(volumesFolder, request.VolumeId)
	if err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no volume %s", request.VolumeId)
	}
	if n.devices[request.VolumeId] != nil || mounted(request.StagingTargetPath) {
		return &csi.NodeStageVolumeResponse{}, nil
	}
	device, err := attach(n.store.disk(volumesFolder, request.VolumeId))
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if found.Block {
		n.devices[request.VolumeId] = device
		n.store.staged[request.VolumeId] = device.Name()
		return &csi.NodeStageVolumeResponse{}, nil
	}
	defer device.Close() // the mount holds it
	if err := mount(device.Name(), request.StagingTargetPath, "ext4", 0); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	n.store.staged[request.VolumeId] = request.StagingTargetPath
	return &csi.NodeStageVolumeResponse{}, nil
}

func (n *nodeServer) NodeUnstageVolume(_ context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	n.store.Lock()
	defer n.store.Unlock()
	delete(n.store.staged, request.VolumeId)
	if device := n.devices[request.VolumeId]; device != nil {
		delete(n.devices, request.VolumeId)
		if err := errors.Join(device.Sync(), device.Close()); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	if err := unmount(request.StagingTargetPath); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (n *nodeServer) NodePublishVolume(_ context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	n.store.Lock()
	defer n.store.Unlock()
	if mounted(request.TargetPath) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	source, prepare := request.StagingTargetPath, func() error { return os.MkdirAll(request.TargetPath, 0o750) }
	if request.VolumeCapability.GetBlock() != nil {
		device := n.devices[request.VolumeId]
		if device == nil {
			return nil, status.Errorf(codes.FailedPrecondition, "volume %s is not staged", request.VolumeId)
		}
		source, prepare = device.Name(), func() error { return touch(request.TargetPath) }
	}
	if err := prepare(); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	var flags uintptr = unix.MS_BIND
	if err := mount(source, request.TargetPath, "", flags); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if request.Readonly {
		if err := mount("", request.TargetPath, "", flags|unix.MS_REMOUNT|unix.MS_RDONLY); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (n *nodeServer) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	n.store.Lock()
	defer n.store.Unlock()
	if err := unmount(request.TargetPath); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if err := os.Remove(request.TargetPath); err != nil && !os.IsNotExist(err) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// attach makes a disk a loop device that detaches itself when nobody has it open or mounted.
func attach(disk string) (*os.File, error) {
	backing, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("no free loop device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := &unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		copy(config.Info.File_name[:], disk)
		err = unix.IoctlLoopConfigure(int(device.Fd()), config)
		if err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else on this machine was faster
			return nil, fmt.Errorf("%s: %w", device.Name(), err)
		}
	}
}

func mount(source, target, kind string, flags uintptr) error {
	if err := unix.Mount(source, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

func unmount(target string) error {
	if !mounted(target) {
		return nil
	}
	if err := unix.Unmount(target, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	return nil
}

func mounted(path string) bool {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == path {
			return true
		}
	}
	return false
}

func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE, 0o660)
	if err != nil {
		return err
	}
	return file.Close()
}
