// Package devicesv1 is generated from devices.proto, for examples/connect and
// examples/grpc.
package devicesv1

// protoc is Debian's protobuf-compiler; the plugins are protoc-gen-go v1.36.12,
// protoc-gen-go-grpc v1.6.2 and protoc-gen-connect-go v1.21.1.
//
//go:generate protoc --go_out=paths=source_relative:. --go-grpc_out=paths=source_relative:. --connect-go_out=paths=source_relative:. devices.proto
