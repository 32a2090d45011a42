# `make` without a target lists the targets.
SHELL := /bin/bash
CARGO ?= cargo
T ?=

.DEFAULT_GOAL := help
.PHONY: help run build test test-build test-full lint openapi csrf dotenv pages client traces docs tutorials picture verify matrix dashboards game-day upgrade-test upgrade-fixture sentry debug-files symbols chart deb deb-check dist dist-check fmt deny bench bench-storage bench-identity bench-phases bench-request bench-scrape coverage fuzz setup image image-check compose-check pin bench-image

# What the pipelines call besides.
include scripts/pipeline/pipeline.mk

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: ## build and start the gateway with no configuration (SQLite, loopback port 8000)
	$(CARGO) run --quiet --bin portcullis -- serve

build: ## build the release binary, target/release/portcullis
	$(CARGO) build --release --bin portcullis

setup: ## install what the tests need (Debian as root; elsewhere says what is missing)
	@scripts/setup.sh

test: setup ## run the tests on SQLite and PostgreSQL; T=name runs those whose name contains it
	@scripts/test.sh $(T)

test-build: ## compile the tests and the debug binary that they start, without running them
	$(CARGO) test --workspace --tests --no-run --quiet

test-full: lint test ## everything: lint, the tests, and the checks against other programs with more examples each
	@EXAMPLES=40 PROFILE=dev $(MAKE) --no-print-directory openapi csrf dotenv pages client traces secrets docs tutorials matrix sentry symbols chart deb-check workflows upgrade-test
	@BINARY=$${CARGO_TARGET_DIR:-target}/debug/portcullis $(MAKE) --no-print-directory dist-check
	@if [ "$$(id -u)" = 0 ]; then BASE=debootstrap BINARY=$${CARGO_TARGET_DIR:-target}/debug/portcullis $(MAKE) --no-print-directory image-check compose-check; \
	else echo "not root: no base image can be made here, so image and compose files were not tried"; fi

lint: ## check format, clippy, licences and bans, migrations (squawk), the Dockerfile and the compose files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@$(MAKE) --no-print-directory deny
	@scripts/squawk.sh
	@scripts/image/lint.sh

openapi: ## check docs/openapi.json with redocly and spectral, and a running gateway against it with schemathesis
	@scripts/openapi.sh

csrf: ## check that CSRF tokens and the npm package csrf-csrf accept each other
	@scripts/csrf.sh

dotenv: ## check the test of .env against the npm package dotenv
	@scripts/dotenv.sh

pages: ## check the gateway's pages in chromium with axe
	@scripts/pages.sh

client: ## build, check and test the TypeScript client (clients/typescript) against a real gateway
	@scripts/client.sh

traces: ## send traces to a real collector (rotel), also to a frozen, a gone and a refusing one
	@scripts/traces.sh

.PHONY: secrets
secrets: ## start the gateway with its secrets in AWS Secrets Manager, which moto plays, and without it
	@scripts/secrets.sh

docs: ## check spelling and links of the pages, and write them as a book (mdBook) into the target folder
	@scripts/docs.sh

tutorials: ## do what the tutorials and guides say, with the packages that they install
	@scripts/tutorials.sh

verify: setup ## run the suites that hold the gateway against programs and standards of others, and write docs/verified.md
	@python3 -B scripts/verify.py docs/verified.md

picture: ## make the picture of README.md from a run of the gateway
	@scripts/picture.sh

matrix: ## put the gateway in front of real servers (Node, Express, uvicorn, Flask, Go, nginx with PHP) and compare
	@scripts/matrix.sh

dashboards: ## write Grafana's dashboards anew and check them against Grafana's schemas
	@scripts/dashboards.sh

sentry: ## check the error reports with real servers of Sentry's protocol (bugsink and kent)
	@scripts/sentry.sh

debug-files: ## split the debug information off the release binary and name it by build id, in target/debug-files
	@scripts/debug-files.sh

symbols: ## panic a stripped binary and name its frames by the debug file; PROFILE=dev for the development build
	@scripts/debug-files.sh check

chart: ## check the Helm chart and the Kustomize base made from it (SKIP_CHECKOV=1 is quicker)
	@scripts/chart.sh

deb: ## make the Debian package in target/deb; BINARY=path takes a binary (needs cargo-deb)
	@scripts/deb/build.sh

deb-check: ## check the systemd units, and install, start, upgrade and remove the package in a Debian 12 (root, debootstrap)
	@scripts/deb/check.sh

game-day: ## cause eight faults at a running gateway and wait for the alert of each (takes five minutes)
	@scripts/game-day.sh

upgrade-test: ## upgrade under load from the last release and go back: two real builds, both engines
	@python3 -B scripts/upgrade/rolling.py

upgrade-fixture: ## write the database of the last release of deploy/releases.toml, or of V=0.1.0, for the tests of later versions
	@python3 -B scripts/upgrade/fixture.py $(V)

image: ## build the container image; BASE=debootstrap makes its base here, BINARY=path takes a binary (scripts/image/build.sh)
	@scripts/image/build.sh

image-check: ## build the image and try it: read-only, without root, on both engines, and with what operators get wrong
	@scripts/image/check.sh

compose-check: ## start the services of both compose files with podman-compose, in containers made here, and use the gateway (root)
	@scripts/compose/check.sh

dist: ## make the archive of a release in target/dist: program, manual pages, completions; BINARY=path takes a binary
	@scripts/dist/build.sh

dist-check: ## make that archive and install it with install.sh, also with wrong and missing checksums
	@scripts/dist/check.sh

pin: ## add to each image of the compose files the digest of its tag (needs skopeo or docker, and the registries)
	@scripts/compose/pin.sh

deny: ## check licences, duplicates, bans and sources (needs cargo-deny)
	@if command -v cargo-deny >/dev/null; then $(CARGO) fetch --locked --quiet && $(CARGO) deny --offline --log-level error check licenses bans sources; \
	else echo "cargo-deny is not installed: licences and bans were not checked. hint: cargo install --locked cargo-deny"; fi

fmt: ## format all code
	$(CARGO) fmt --all

bench: build ## measure beside nginx; prints the table of docs/benchmarks.md
	@bench/run.sh

bench-storage: build ## measure storage on a private PostgreSQL; ROWS=10000000 for the large one
	@bench/run.sh storage --rows $(or $(ROWS),1000000)

bench-identity: build ## measure imports, sign-ins under load and timing differences between refused sign-ins
	@bench/run.sh identity

bench-phases: ## count the instructions of each phase of the gate (needs valgrind); prints the table of docs/gate.md
	@bench/run.sh phases

bench-request: build ## count the instructions of a whole proxied request, also with access log and traces (needs valgrind)
	@bench/run.sh request

bench-scrape: build ## measure scrapes of the metrics of up to 1,000 routes over HTTP
	@bench/run.sh scrape

bench-image: ## time the start of the gateway in a container of the image that `make image` made
	@python3 bench/image.py $(or $(TAG),localhost/portcullis:$(shell sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml))

fuzz: ## fuzz whole HTTP/1.1 connections for ten minutes; TIME=60 for one (needs cargo-fuzz and a C++ compiler)
	@TIME="$(TIME)" scripts/fuzz.sh

coverage: setup ## measure the coverage of each crate; fails below 90 % of lines and functions, 80 % of regions of identity and the gate
	@scripts/coverage.sh
