// Command cri makes one call of the Container Runtime Interface and prints the answer as JSON.
//
//	cri SOCKET METHOD [REQUEST]
//
// SOCKET is an absolute path, METHOD any unary method of runtime.v1's RuntimeService or ImageService (RunPodSandbox,
// PodSandboxStatus, ListImages, ...), REQUEST its request as protobuf JSON; "-" reads it from stdin, none is an empty
// one. What the runtime refuses goes to stderr, its gRPC message alone, and the exit code is 1.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "k8s.io/cri-api/pkg/apis/runtime/v1" // registers the descriptors that find looks up
)

// deadline is longer than a sandbox may take (kubelet gives it 4 minutes).
const deadline = 5 * time.Minute

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, status.Convert(err).Message())
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 || len(args) > 3 || !filepath.IsAbs(args[0]) {
		return fmt.Errorf("usage: cri SOCKET METHOD [REQUEST]; SOCKET is an absolute path")
	}
	method, err := find(args[1])
	if err != nil {
		return err
	}
	request := dynamicpb.NewMessage(method.Input())
	if err := read(args[2:], request); err != nil {
		return err
	}

	conn, err := grpc.NewClient("unix://"+args[0],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()

	response := dynamicpb.NewMessage(method.Output())
	name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	if err := conn.Invoke(ctx, name, request, response); err != nil {
		return err
	}
	out, err := protojson.Marshal(response)
	if err != nil {
		return err
	}
	fmt.Println(string(out))
	return nil
}

func find(name string) (protoreflect.MethodDescriptor, error) {
	for _, service := range []protoreflect.FullName{"runtime.v1.RuntimeService", "runtime.v1.ImageService"} {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(service)
		if err != nil {
			return nil, err
		}
		method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name))
		if method != nil && !method.IsStreamingServer() {
			return method, nil
		}
	}
	return nil, fmt.Errorf("CRI has no method %q", name)
}

func read(args []string, request *dynamicpb.Message) error {
	if len(args) == 0 {
		return nil
	}
	text := []byte(args[0])
	if args[0] == "-" {
		var err error
		if text, err = io.ReadAll(os.Stdin); err != nil {
			return err
		}
	}
	if err := protojson.Unmarshal(text, request); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return nil
}
