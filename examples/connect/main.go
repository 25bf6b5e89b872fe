// Connect shows apitoken with connectrpc.com/connect and adapters/connect, for
// clients of Connect, gRPC and gRPC-Web.
//
//	go run ./examples/connect
package main

import (
	"context"
	"log"
	"net/http"

	"connectrpc.com/connect"

	"github.com/apitoken-go/apitoken"
	apitokenconnect "github.com/apitoken-go/apitoken/adapters/connect"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
	"github.com/apitoken-go/apitoken/examples/internal/devicesv1"
	"github.com/apitoken-go/apitoken/examples/internal/devicesv1/devicesv1connect"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

func main() {
	auth := demo.Authority(&catalog)
	server := http.Server{Addr: demo.Address, Handler: newHandler(auth), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // for clients of gRPC
	log.Fatal(server.ListenAndServe())
}

func newHandler(auth *apitoken.Authority) http.Handler {
	_, service := devicesv1connect.NewDeviceServiceHandler(devices{})
	read := apitokenconnect.Guard(auth, apitoken.All(readDevices))(service)
	write := apitokenconnect.Guard(auth, apitoken.All(writeDevices))(service)

	mux := http.NewServeMux()
	mux.Handle(devicesv1connect.DeviceServiceGetProcedure, read)
	mux.Handle(devicesv1connect.DeviceServiceWatchProcedure, read)
	mux.Handle(devicesv1connect.DeviceServiceDeleteProcedure, write)
	return auth.HideQueryToken(mux)
}

type devices struct{}

func (devices) Get(ctx context.Context, req *connect.Request[devicesv1.DeviceRequest]) (*connect.Response[devicesv1.Device], error) {
	return connect.NewResponse(device(ctx, req.Msg.Id)), nil
}

func (devices) Delete(ctx context.Context, req *connect.Request[devicesv1.DeviceRequest]) (*connect.Response[devicesv1.Device], error) {
	return connect.NewResponse(device(ctx, req.Msg.Id)), nil
}

func (devices) Watch(ctx context.Context, req *connect.Request[devicesv1.DeviceRequest], stream *connect.ServerStream[devicesv1.Device]) error {
	return stream.Send(device(ctx, req.Msg.Id))
}

func device(ctx context.Context, id string) *devicesv1.Device {
	tok, _ := apitoken.FromContext(ctx)
	return &devicesv1.Device{Id: id, AskedBy: tok.Owner()}
}
