# The few things one does here. Each step of CI is one of these targets and works the same on a laptop.
# Needs Debian, root (network namespaces and container runtimes), Rust by rustup, and Go; installs the rest.

TARGET := x86_64-unknown-linux-musl
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
export META_CNI_BIN := $(abspath $(TARGET_DIR))/$(TARGET)/release/meta-cni

.PHONY: help build test lint bench demo tools

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

build: tools ## the plugin: static, release
	cargo build --release --target $(TARGET) --no-default-features --bin meta-cni
	@ls -l $(META_CNI_BIN)

test: build ## every test, also those with real runtimes
	tests/tools/build plugins containerd cri crio-habits
	cargo test
	fuzz/run 10

lint: tools ## format, clippy, docs, licences, and what the plugin must never depend on
	.ci/lint

bench: build ## ADD and DEL beside the bare delegates
	benches/run

demo: build ## two pods, three networks each, on a private containerd
	examples/demo

tools:
	@tests/tools/install
