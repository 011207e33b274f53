# Image with only the static kentros binary: no shell, no libraries, not root.
#
#   docker build -t kentros .
#
# To use a binary that you built outside the container, see deploy/local.Dockerfile.

FROM rust:1-slim AS build
WORKDIR /kentros
COPY . .
# With --target, the flag applies to the program and not to build scripts and macros.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" \
    && mv "target/$target/release/kentros" /bin/kentros

FROM scratch
COPY --from=build /bin/kentros /kentros
ENV KENTROS_ADDR=0.0.0.0:9001
EXPOSE 9001
# Unprivileged. To read the engine's socket, add the socket's group:
# docker run --group-add "$(stat -c %g /var/run/docker.sock)"
USER 65534:65534
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/kentros", "healthcheck"]
# The address is reachable from other containers: set KENTROS_TOKEN, or append --no-auth.
ENTRYPOINT ["/kentros"]
