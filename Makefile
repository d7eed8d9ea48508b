# The few things one does here. Each step of CI is one of these targets and works the same on a laptop.
# Needs Debian, root (network namespaces and container runtimes), Rust by rustup, and Go; installs the rest.

TARGET := x86_64-unknown-linux-musl
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
export META_CNI_BIN := $(abspath $(TARGET_DIR))/$(TARGET)/release/meta-cni

# Where `make cluster` keeps its cluster; `make cluster-test` has one of its own.
CLUSTER := /tmp/meta-cni-cluster

.PHONY: help build daemon test fuzz lint bench demo cluster cluster-down cluster-test tools

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

build: tools ## the plugin: static, release
	cargo build --release --target $(TARGET) --no-default-features --bin meta-cni
	@ls -l $(META_CNI_BIN)

test: build ## every test, also those with real runtimes
	tests/tools/build plugins containerd cri crio-habits confdir
	cargo test
	fuzz/run

fuzz: ## a search at random for inputs that break a promise, a minute for each target
	fuzz/run 60

lint: tools ## format, clippy, docs, licences, and what the plugin must never depend on
	.ci/lint

bench: build ## ADD and DEL beside the bare delegates
	benches/run

demo: build ## two pods, three networks each, on a private containerd
	examples/demo

daemon: tools
	cargo build --bin meta-cnid

cluster: export META_CNID_BIN := $(abspath $(TARGET_DIR))/debug/meta-cnid
cluster: build daemon ## a Kubernetes cluster of two nodes with meta-cni as their network; leaves it running and says how to use it
	@tests/cluster/cluster start $(CLUSTER)

cluster-down: ## ends it
	@tests/cluster/cluster down $(CLUSTER)

cluster-test: build ## 100 pods with two networks each, and more, on a cluster of its own
	tests/tools/build kubernetes etcd containerd plugins cri
	cargo test --test cluster

tools:
	@tests/tools/install
