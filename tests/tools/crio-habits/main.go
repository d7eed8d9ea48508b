// Command crio-habits calls CNI plugins through libcni the way CRI-O does:
//
//	add     ADD, then CHECK right after; --kill-after cancels the ADD, which kills the plugin with SIGKILL
//	check   CHECK with the configuration cached at ADD
//	del     DEL with the configuration and arguments cached at ADD (else with the one in the conf dir)
//	gc      GC of every list in the conf dir, all with the same valid attachments
//	status  STATUS of the network
//	load    loads every list in the conf dir, asks each plugin's VERSION, prints the lists' names
//
// The result goes to stdout. A failure goes to stderr as text, and to stdout as the plugin's CNI error if there is one;
// the exit code is then 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

type call struct {
	confDir   string
	network   string
	runtime   libcni.RuntimeConf
	valid     []types.GCAttachment
	killAfter time.Duration
	noCheck   bool
	cni       *libcni.CNIConfig
}

func main() {
	if err := run(); err != nil {
		var plugin *types.Error
		if errors.As(err, &plugin) {
			show(plugin)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return errors.New("usage: crio-habits add|check|del|gc|status|load --conf-dir DIR ...")
	}
	c, err := parse(os.Args[2:])
	if err != nil {
		return err
	}
	switch os.Args[1] {
	case "add":
		return c.add()
	case "check":
		return c.check()
	case "del":
		return c.del()
	case "gc":
		return c.gc()
	case "status":
		list, err := c.list()
		if err != nil {
			return err
		}
		return c.cni.GetStatusNetworkList(context.Background(), list)
	case "load":
		return c.load()
	}
	return fmt.Errorf("no such operation: %s", os.Args[1])
}

func parse(args []string) (*call, error) {
	c := &call{}
	flags := flag.NewFlagSet("crio-habits", flag.ExitOnError)
	flags.StringVar(&c.confDir, "conf-dir", "", "directory of network configurations")
	cacheDir := flags.String("cache-dir", "", "libcni's cache")
	pluginPath := flags.String("plugin-path", "", "directories of plugins, colon separated")
	flags.StringVar(&c.network, "network", "", "name of the network (default: the first in the conf dir)")
	flags.StringVar(&c.runtime.ContainerID, "id", "", "container ID")
	flags.StringVar(&c.runtime.NetNS, "netns", "", "path of the network namespace")
	flags.StringVar(&c.runtime.IfName, "ifname", "eth0", "interface in the namespace")
	cniArgs := flags.String("args", "", "CNI_ARGS: KEY=VALUE;KEY=VALUE")
	capabilities := flags.String("capability-args", "", "runtimeConfig as a JSON object")
	valid := flags.String("valid", "", "valid attachments for gc: ID/IFNAME,ID/IFNAME")
	flags.DurationVar(&c.killAfter, "kill-after", 0, "cancel add after this time")
	flags.BoolVar(&c.noCheck, "no-check", false, "no CHECK after add")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	for _, pair := range strings.Split(*cniArgs, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			c.runtime.Args = append(c.runtime.Args, [2]string{key, value})
		}
	}
	if *capabilities != "" {
		if err := json.Unmarshal([]byte(*capabilities), &c.runtime.CapabilityArgs); err != nil {
			return nil, fmt.Errorf("--capability-args: %w", err)
		}
	}
	// An empty list still says "none is valid"; libcni tells it from no list at all.
	c.valid = []types.GCAttachment{}
	for _, pair := range strings.Split(*valid, ",") {
		if id, ifname, ok := strings.Cut(pair, "/"); ok {
			c.valid = append(c.valid, types.GCAttachment{ContainerID: id, IfName: ifname})
		}
	}
	c.cni = libcni.NewCNIConfigWithCacheDir(filepath.SplitList(*pluginPath), *cacheDir, nil)
	return c, nil
}

func (c *call) add() error {
	list, err := c.list()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if c.killAfter > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.killAfter)
		defer cancel()
	}
	result, err := c.cni.AddNetworkList(ctx, list, &c.runtime)
	if err != nil {
		return fmt.Errorf("ADD: %w", err)
	}
	if !c.noCheck {
		if err := c.cni.CheckNetworkList(ctx, list, &c.runtime); err != nil {
			return fmt.Errorf("CHECK right after ADD: %w", err)
		}
	}
	return show(result)
}

func (c *call) check() error {
	list, runtime, err := c.cached()
	if err != nil {
		return err
	}
	return c.cni.CheckNetworkList(context.Background(), list, runtime)
}

func (c *call) del() error {
	list, runtime, err := c.cached()
	if err != nil {
		return err
	}
	return c.cni.DelNetworkList(context.Background(), list, runtime)
}

func (c *call) gc() error {
	lists, err := c.lists()
	if err != nil {
		return err
	}
	var failures []error
	for _, list := range lists {
		err := c.cni.GCNetworkList(context.Background(), list, &libcni.GCArgs{ValidAttachments: c.valid})
		if err != nil {
			failures = append(failures, fmt.Errorf("GC of %q: %w", list.Name, err))
		}
	}
	return errors.Join(failures...)
}

func (c *call) load() error {
	lists, err := c.lists()
	if err != nil {
		return err
	}
	names := []string{}
	for _, list := range lists {
		if _, err := c.cni.ValidateNetworkList(context.Background(), list); err != nil {
			return fmt.Errorf("list %q: %w", list.Name, err)
		}
		names = append(names, list.Name)
	}
	return show(names)
}

// list is the network that pods get: the one named, else the first in the conf dir.
func (c *call) list() (*libcni.NetworkConfigList, error) {
	lists, err := c.lists()
	if err != nil {
		return nil, err
	}
	for _, list := range lists {
		if c.network == "" || list.Name == c.network {
			return list, nil
		}
	}
	return nil, fmt.Errorf("no network %q in %s", c.network, c.confDir)
}

func (c *call) lists() ([]*libcni.NetworkConfigList, error) {
	files, err := libcni.ConfFiles(c.confDir, []string{".conf", ".conflist", ".json"})
	if err != nil {
		return nil, err
	}
	lists := []*libcni.NetworkConfigList{}
	for _, file := range files {
		list, err := libcni.NetworkConfFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// cached is what libcni stored at ADD; without it the list in the conf dir and the arguments of this call.
func (c *call) cached() (*libcni.NetworkConfigList, *libcni.RuntimeConf, error) {
	list, err := c.list()
	if err != nil && c.network == "" {
		return nil, nil, err
	}
	if list == nil {
		list = &libcni.NetworkConfigList{Name: c.network}
	}
	bytes, runtime, cacheErr := c.cni.GetNetworkListCachedConfig(list, &c.runtime)
	if cacheErr != nil {
		return nil, nil, cacheErr
	}
	if bytes == nil {
		return list, &c.runtime, err
	}
	list, err = libcni.NetworkConfFromBytes(bytes)
	return list, runtime, err
}

func show(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}
