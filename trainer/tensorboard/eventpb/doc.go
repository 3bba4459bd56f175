// Package eventpb has the messages of TensorBoard's event files as Go types, which protoc makes of event.proto (Debian's protobuf-compiler, and
// go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12).
package eventpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative event.proto
