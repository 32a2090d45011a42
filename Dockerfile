# The image of Portcullis: the binary, its libraries, CA certificates and time zones, and nothing else.
#
#   docker build --tag portcullis .
#   make image                       with buildah: two builds of one commit give one digest (docs/install.md)

# Debian 12 with Rust, a C compiler, CA certificates and time zones. It is needed for building only, but the libraries in the
# image come from it. The version of Rust is that of rust-toolchain.toml.
ARG BUILD_IMAGE=docker.io/library/rust:1.95.0-bookworm
# Which stage has the binary: `build`, or `prebuilt` for one that was built on a Debian 12 before and lies at
# target/image/portcullis.
ARG BINARY=build
# `dev` compiles in a fraction of the time, for trying.
ARG PROFILE=release
# Another value builds everything after the dependencies anew.
ARG REBUILD=0
# What the labels say.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z

# The manifests, with sources that have no content: all that the dependencies need. A change of a source leaves this
# stage's files as they were, and so the next stage is taken from the cache.
FROM ${BUILD_IMAGE} AS manifests
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN for crate in crates/*; do \
      find "$crate" -mindepth 1 -maxdepth 1 ! -name Cargo.toml -exec rm -r {} +; \
      mkdir "$crate/src" && touch "$crate/src/lib.rs"; \
    done \
    && echo 'fn main() {}' > crates/portcullis/src/main.rs

FROM ${BUILD_IMAGE} AS dependencies
ARG PROFILE
WORKDIR /src
COPY --from=manifests /src ./
# What cargo remembers of our own crates goes: it compares times, and all files of an image may have the same.
RUN cargo build --profile "$PROFILE" --locked --package portcullis --bin portcullis \
    && rm -r target/*/.fingerprint/portcullis-* target/*/deps/*portcullis*

FROM dependencies AS build
ARG PROFILE
ARG REBUILD
COPY crates crates
RUN cargo build --profile "$PROFILE" --locked --package portcullis --bin portcullis \
    && install -D target/*/portcullis /binary/portcullis

FROM ${BUILD_IMAGE} AS prebuilt
COPY target/image/portcullis /binary/portcullis

FROM ${BINARY} AS binary

# The files of the image, below /image. os-release tells scanners where the libraries come from. It differs from commit to commit,
# so that labels and times are not taken from the cache: buildah compares the text of LABEL, not its values.
FROM ${BUILD_IMAGE} AS files
ARG REBUILD
ARG VERSION
ARG REVISION
ARG CREATED
COPY --from=binary /binary/portcullis /image/usr/local/bin/portcullis
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN ldd /image/usr/local/bin/portcullis | grep -o '/[^ ]*' | while read -r library; do \
      install -D --mode 755 "$(realpath "$library")" "/image$library"; \
    done; \
    install -D --mode 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    mkdir -p /image/etc/portcullis /image/usr/share /image/var/lib /volume/portcullis; \
    cp --archive /usr/share/zoneinfo /image/usr/share/zoneinfo; \
    rm -rf /image/usr/share/zoneinfo/posix /image/usr/share/zoneinfo/right; \
    echo 'portcullis:x:10001:10001::/var/lib/portcullis:/nonexistent' > /image/etc/passwd; \
    echo 'portcullis:x:10001:' > /image/etc/group; \
    echo 'hosts: files dns' > /image/etc/nsswitch.conf; \
    { cat /etc/os-release; printf 'IMAGE_ID=portcullis\nIMAGE_VERSION=%s\nBUILD_ID="%s %s"\n' "$VERSION" "$REVISION" "$CREATED"; } > /image/etc/os-release; \
    chmod 755 /image/usr/local/bin/portcullis; \
    chmod 700 /volume/portcullis

FROM scratch
COPY --from=files /image /
COPY --from=files --chown=10001:10001 /volume /var/lib
# The one writable folder: SQLite's file, and what a command writes for a moment.
VOLUME /var/lib/portcullis
# Has the settings file, portcullis.toml, if there is one.
WORKDIR /etc/portcullis
ENV PORTCULLIS_ENV=production \
    PORTCULLIS_DATA_DIR=/var/lib/portcullis \
    TMPDIR=/var/lib/portcullis
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/usr/local/bin/portcullis", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/portcullis"]
CMD ["serve"]

ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="Portcullis" \
      org.opencontainers.image.description="A gateway with identity, in front of your services" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="https://github.com/portcullis-gateway/portcullis" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
