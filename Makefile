# The project's commands. `make demo` and `make test` install or build what they need.


.PHONY: help demo test build fmt clippy doc check clean

help:
	@echo 'make demo   three uWSGI nodes on this machine, and what happens when servers die'
	@echo 'make test   all tests, against real uWSGIs'
	@echo 'make build  the plugin for any uWSGI 2.0.x: target/release/libhetzner_plugin.so'
	@echo 'make check  what must be clean before a commit: format, lints, documentation'

demo:
	@tests/demo.sh

test:
	@tests/setup.sh test
	@tests/setup.sh headers
	@tests/build-plugin.sh
	@tests/run.sh

build:
	cargo build --release --locked

check: fmt clippy doc

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --document-private-items --quiet

clean:
	cargo clean
