// Command confdir does to a conf dir what others do:
//
//	watch DIR FILE NAME      loads DIR by libcni as a runtime does, again and again until stdin ends; FILE is to come first,
//	                         with the list NAME, whose first plugin is meta-cni. Prints at its end, as JSON, how often it
//	                         loaded, how many different contents it saw, and the first things that were otherwise
//	exclusive DIR FILE       is the agent of a CNI that wants DIR for itself: renames every configuration but FILE to
//	                         *.cilium_bak, as soon as it is there, until it is killed
package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/containernetworking/cni/libcni"
)

// mostFaults is how many faults are told; one is too many.
const mostFaults = 10

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "watch":
		return watch(args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "exclusive":
		return exclusive(args[1], args[2])
	}
	return errors.New("usage: confdir watch DIR FILE NAME | exclusive DIR FILE")
}

type seen struct {
	Loads    int      `json:"loads"`
	Contents int      `json:"contents"`
	Faults   []string `json:"faults"`
}

func watch(dir, file, name string) error {
	var over atomic.Bool
	go func() {
		io.Copy(io.Discard, os.Stdin)
		over.Store(true)
	}()
	result := seen{Faults: []string{}}
	contents := map[[sha256.Size]byte]bool{}
	for !over.Load() {
		list, err := first(dir, file)
		if err == nil {
			err = right(list, name)
		}
		if err != nil && len(result.Faults) < mostFaults {
			result.Faults = append(result.Faults, fmt.Sprintf("load %d: %v", result.Loads, err))
		}
		if err == nil {
			contents[sha256.Sum256(list.Bytes)] = true
		}
		result.Loads++
	}
	result.Contents = len(contents)
	return json.NewEncoder(os.Stdout).Encode(result)
}

// first is the list that go-cni would make the default network: the first by name of all that load.
func first(dir, file string) (*libcni.NetworkConfigList, error) {
	files, err := libcni.ConfFiles(dir, []string{".conf", ".conflist", ".json"})
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	if len(files) == 0 {
		return nil, errors.New("no configuration is there")
	}
	if filepath.Base(files[0]) != file {
		return nil, fmt.Errorf("%s comes first", files[0])
	}
	return libcni.ConfListFromFile(files[0])
}

func right(list *libcni.NetworkConfigList, name string) error {
	if list.Name != name || len(list.Plugins) == 0 || list.Plugins[0].Network.Type != "meta-cni" {
		return fmt.Errorf("not ours: %s", list.Bytes)
	}
	return nil
}

func exclusive(dir, keep string) error {
	inotify, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		return err
	}
	events := uint32(syscall.IN_CLOSE_WRITE | syscall.IN_CREATE | syscall.IN_MOVED_TO)
	if _, err := syscall.InotifyAddWatch(inotify, dir, events); err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name := entry.Name()
			switch filepath.Ext(name) {
			case ".conf", ".conflist", ".json":
				if name != keep && !strings.HasPrefix(name, ".") {
					// It may be gone by now.
					_ = os.Rename(filepath.Join(dir, name), filepath.Join(dir, name+".cilium_bak"))
				}
			}
		}
		if _, err := syscall.Read(inotify, buffer); err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
