# The released image: one static binary on nothing else. The first stage builds it with the C library linked in
# (glibc's own resolver reads /etc/hosts and asks DNS without any NSS module, so names work on `scratch` too);
# the second holds the binary, its licence and an empty data folder. `scripts/container-test` builds and runs it.
#
#   docker build -t article-store .
#   docker run -d -p 50051:50051 -v articles:/data --read-only --cap-drop ALL article-store

ARG BUILD_IMAGE=rust:1.95-bookworm
FROM ${BUILD_IMAGE} AS build
WORKDIR /src
# With an explicit --target these flags reach the program only, not the build scripts and macros on the host.
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_TERM_PROGRESS_WHEN=never

# The dependencies alone, on an empty program: this layer is rebuilt only when the manifests change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' | tee build.rs > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin article-store --target "$(rustc --print host-tuple)"

COPY build.rs ./
COPY proto proto
COPY src src
# Copied files keep their old times, which cargo would take for "unchanged since the empty program".
RUN touch build.rs src/lib.rs src/main.rs \
    && cargo build --release --locked --bin article-store --target "$(rustc --print host-tuple)" \
    && mkdir -p /out/data \
    && cp "target/$(rustc --print host-tuple)/release/article-store" /out/
COPY LICENSE /out/

FROM scratch
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/LICENSE /LICENSE
COPY --from=build /out/article-store /article-store
USER 65532:65532
VOLUME /data
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["/article-store", "health"]
ENTRYPOINT ["/article-store"]
CMD ["serve", "--listen", "0.0.0.0:50051", "--store", "sled:/data"]

ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="article-store" \
      org.opencontainers.image.description="A gRPC service that stores news articles and binds every translation to the exact source text" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
