package main

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	sector  = 512
	minimum = 1 << 20 // of a file system with a journal
)

type controllerServer struct {
	csi.UnimplementedControllerServer
	store  *store
	copies bool
}

func (c *controllerServer) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	types := []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if c.copies {
		types = append(types,
			csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
			csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT)
	}
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, each := range types {
		rpc := &csi.ControllerServiceCapability_RPC{Type: each}
		response.Capabilities = append(response.Capabilities,
			&csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{Rpc: rpc}})
	}
	return response, nil
}

func (c *controllerServer) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if request.Name == "" || len(request.VolumeCapabilities) == 0 {
		return nil, status.Error(codes.InvalidArgument, "a name and capabilities are needed")
	}
	c.store.Lock()
	defer c.store.Unlock()
	wanted := image{Size: sizeOf(request.CapacityRange), Created: time.Now()}
	for _, capability := range request.VolumeCapabilities {
		wanted.Block = wanted.Block || capability.GetBlock() != nil
	}
	volume := &csi.Volume{VolumeId: request.Name, CapacityBytes: wanted.Size, ContentSource: request.VolumeContentSource}
	if found, err := c.store.load(volumesFolder, request.Name); err == nil {
		if found.Size != wanted.Size || found.Block != wanted.Block {
			return nil, status.Errorf(codes.AlreadyExists, "volume %s is another one", request.Name)
		}
		return &csi.CreateVolumeResponse{Volume: volume}, nil
	}
	from, err := c.source(request.VolumeContentSource, wanted)
	if err != nil {
		return nil, err
	}
	if err := c.store.create(volumesFolder, request.Name, from, wanted); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.CreateVolumeResponse{Volume: volume}, nil
}

// source is the disk that a volume begins with, "" for none.
func (c *controllerServer) source(source *csi.VolumeContentSource, wanted image) (string, error) {
	if source == nil {
		return "", nil
	}
	kind, id := volumesFolder, source.GetVolume().GetVolumeId()
	if source.GetSnapshot() != nil {
		kind, id = snapshotsFolder, source.GetSnapshot().GetSnapshotId()
	}
	found, err := c.store.load(kind, id)
	switch {
	case !c.copies:
		return "", status.Error(codes.InvalidArgument, "this driver neither clones nor restores")
	case err != nil:
		return "", status.Errorf(codes.NotFound, "there is no %s in %s", id, kind)
	case found.Block != wanted.Block:
		return "", status.Errorf(codes.InvalidArgument, "%s has another volume mode", id)
	case found.Size > wanted.Size:
		return "", status.Errorf(codes.OutOfRange, "%s has %d bytes, more than %d", id, found.Size, wanted.Size)
	}
	if kind == volumesFolder {
		if err := c.store.flush(id); err != nil {
			return "", status.Error(codes.Internal, err.Error())
		}
	}
	return c.store.disk(kind, id), nil
}

func (c *controllerServer) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	c.store.Lock()
	defer c.store.Unlock()
	if err := c.store.remove(volumesFolder, request.VolumeId); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (c *controllerServer) ValidateVolumeCapabilities(_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, err := c.store.load(volumesFolder, request.VolumeId); err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no volume %s", request.VolumeId)
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.VolumeCapabilities},
	}, nil
}

func (c *controllerServer) CreateSnapshot(_ context.Context, request *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	c.store.Lock()
	defer c.store.Unlock()
	found, err := c.store.load(snapshotsFolder, request.Name)
	if err != nil {
		if found, err = c.snapshot(request.Name, request.SourceVolumeId); err != nil {
			return nil, err
		}
	} else if found.Source != request.SourceVolumeId {
		return nil, status.Errorf(codes.AlreadyExists, "snapshot %s is of volume %s", request.Name, found.Source)
	}
	return &csi.CreateSnapshotResponse{Snapshot: &csi.Snapshot{
		SnapshotId: request.Name, SourceVolumeId: found.Source, SizeBytes: found.Size,
		CreationTime: timestamppb.New(found.Created), ReadyToUse: true,
	}}, nil
}

func (c *controllerServer) snapshot(id, volume string) (image, error) {
	wanted, err := c.store.load(volumesFolder, volume)
	if err != nil {
		return wanted, status.Errorf(codes.NotFound, "there is no volume %s", volume)
	}
	wanted.Source, wanted.Created = volume, time.Now()
	if err = c.store.flush(volume); err == nil {
		err = c.store.create(snapshotsFolder, id, c.store.disk(volumesFolder, volume), wanted)
	}
	if err != nil {
		return wanted, status.Error(codes.Internal, err.Error())
	}
	return wanted, nil
}

func (c *controllerServer) DeleteSnapshot(_ context.Context, request *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	c.store.Lock()
	defer c.store.Unlock()
	if err := c.store.remove(snapshotsFolder, request.SnapshotId); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

func sizeOf(wanted *csi.CapacityRange) int64 {
	size := max(wanted.GetRequiredBytes(), minimum)
	return (size + sector - 1) / sector * sector
}
