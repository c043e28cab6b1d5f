# The released image: one static binary on nothing else. The first stage builds it as `scripts/release` does, with the C
# library linked in (glibc's own resolver reads /etc/hosts and asks DNS without any NSS module, so names work on `scratch`
# too); the last holds the binary, its bill of materials, the licence and an empty data folder. `scripts/container-test`
# builds and runs it.
#
#   docker build -t article-store --build-arg VERSION=0.1.0 --build-arg "REVISION=$(git rev-parse HEAD)" .
#   docker build --target symbols --output symbols .     the debug symbols of the same binary
#
# How to run it is in compose.yaml and deploy/kubernetes.

ARG BUILD_IMAGE=rust:1.95-bookworm
FROM ${BUILD_IMAGE} AS build
WORKDIR /src
ENV CARGO_TERM_PROGRESS_WHEN=never

# For the bill of materials. The official image has it.
RUN command -v python3 >/dev/null \
    || (apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*)

# The dependencies alone, on an empty program: this layer is rebuilt only when the manifests change.
COPY Cargo.toml Cargo.lock ./
COPY scripts/release scripts/
RUN mkdir src \
    && echo 'fn main() {}' | tee build.rs > src/main.rs \
    && touch src/lib.rs \
    && scripts/release crates

COPY build.rs ./
COPY proto proto
COPY src src
COPY scripts/sbom scripts/
ARG SOURCE_DATE_EPOCH
# Copied files keep their old times, which cargo would take for "unchanged since the empty program".
RUN touch build.rs src/lib.rs src/main.rs \
    && scripts/release \
    && mkdir /data
COPY LICENSE ./

FROM scratch AS symbols
COPY --from=build /src/target/release-files/article-store.debug /

FROM scratch
COPY --from=build --chown=65532:65532 /data /data
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /src/target/release-files/article-store.cdx.json /article-store.cdx.json
COPY --from=build /src/target/release-files/article-store /article-store
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
