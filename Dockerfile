# kentros alone in an image: a static binary, no shell, no libraries, not root.
#
#   docker build -t kentros .
#
# Where the binary is built already, without Rust in a container: deploy/local.Dockerfile.

FROM rust:1-slim AS build
WORKDIR /kentros
COPY . .
# The target is named, so that the flag is for the program and not for what runs in the build.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" \
    && mv "target/$target/release/kentros" /bin/kentros

FROM scratch
COPY --from=build /bin/kentros /kentros
ENV KENTROS_ADDR=0.0.0.0:9001
EXPOSE 9001
# Nobody. To read the engine's socket it takes the socket's group besides:
# --group-add "$(stat -c %g /var/run/docker.sock)"
USER 65534:65534
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/kentros", "healthcheck"]
# It is open to other containers: give it KENTROS_TOKEN, or --no-auth behind its name.
ENTRYPOINT ["/kentros"]
