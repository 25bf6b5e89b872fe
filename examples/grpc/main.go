// Grpc shows apitoken with google.golang.org/grpc and adapters/grpc.
//
//	go run ./examples/grpc
package main

import (
	"context"
	"log"
	"net"

	"google.golang.org/grpc"

	"github.com/apitoken-go/apitoken"
	apitokengrpc "github.com/apitoken-go/apitoken/adapters/grpc"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
	"github.com/apitoken-go/apitoken/examples/internal/devicesv1"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

func main() {
	server, err := newServer(demo.Authority(&catalog))
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", demo.Address)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(l))
}

func newServer(auth *apitoken.Authority) (*grpc.Server, error) {
	guard := apitokengrpc.New(auth, map[string]apitoken.Requirement{
		devicesv1.DeviceService_Get_FullMethodName:    apitoken.All(readDevices),
		devicesv1.DeviceService_Watch_FullMethodName:  apitoken.All(readDevices),
		devicesv1.DeviceService_Delete_FullMethodName: apitoken.All(writeDevices),
	})
	server := grpc.NewServer(grpc.UnaryInterceptor(guard.Unary), grpc.StreamInterceptor(guard.Stream))
	devicesv1.RegisterDeviceServiceServer(server, devices{})
	return server, guard.Check(server)
}

type devices struct {
	devicesv1.UnimplementedDeviceServiceServer
}

func (devices) Get(ctx context.Context, req *devicesv1.DeviceRequest) (*devicesv1.Device, error) {
	return device(ctx, req.Id), nil
}

func (devices) Delete(ctx context.Context, req *devicesv1.DeviceRequest) (*devicesv1.Device, error) {
	return device(ctx, req.Id), nil
}

func (devices) Watch(req *devicesv1.DeviceRequest, stream grpc.ServerStreamingServer[devicesv1.Device]) error {
	return stream.Send(device(stream.Context(), req.Id))
}

func device(ctx context.Context, id string) *devicesv1.Device {
	tok, _ := apitoken.FromContext(ctx)
	return &devicesv1.Device{Id: id, AskedBy: tok.Owner()}
}
