// Package onnxpb has the messages of ONNX files as Go types, which protoc makes of onnx.proto (Debian's protobuf-compiler, and
// go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12).
package onnxpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative onnx.proto
