# The image of haproxy-api, with HAProxy from Debian's packages. docs/containers.md describes how to run it.
#
#   docker build --build-arg VERSION="$(scripts/version)" --tag haproxy-api .

ARG GO=1.26
ARG DEBIAN=bookworm

FROM --platform=$BUILDPLATFORM golang:${GO}-${DEBIAN} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.release=$VERSION" -o /haproxy-api ./cmd/haproxy-api

FROM debian:${DEBIAN}-slim
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates haproxy && \
    rm -rf /var/lib/apt/lists/*
# The user has a fixed number, so that Kubernetes can verify that it is not root, and volumes can be given to it.
RUN groupadd --gid 10001 haproxy-api && \
    useradd --uid 10001 --gid 10001 --home-dir /var/lib/haproxy-api --no-create-home --shell /usr/sbin/nologin haproxy-api && \
    install -d -o haproxy-api -g haproxy-api -m 755 /run/haproxy-api /var/lib/haproxy-api
COPY --from=build /haproxy-api /usr/local/bin/haproxy-api
COPY LICENSE THIRD-PARTY-NOTICES /usr/share/doc/haproxy-api/
COPY examples/containers/haproxy-api.toml /etc/haproxy-api/haproxy-api.toml
ARG VERSION
LABEL org.opencontainers.image.title="haproxy-api" \
      org.opencontainers.image.description="Keeps HAProxy's configuration in sync with your service registry" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/haproxy-api/haproxy-api" \
      org.opencontainers.image.version="$VERSION"
USER 10001:10001
WORKDIR /etc/haproxy-api
EXPOSE 7778
# Only whether the daemon answers: many orchestrators replace a container that is unhealthy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["haproxy-api", "status", "--live"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["haproxy-api"]
