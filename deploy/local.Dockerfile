# Builds the same image as ../Dockerfile, from a static binary that you built:
#
#   RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target x86_64-unknown-linux-gnu
#   docker build -t kentros -f deploy/local.Dockerfile .
#
# This is a separate file because builders older than BuildKit build every stage of a file.

FROM scratch
ARG TARGET=x86_64-unknown-linux-gnu
COPY target/${TARGET}/release/kentros /kentros
ENV KENTROS_ADDR=0.0.0.0:9001
EXPOSE 9001
# Unprivileged. To read the engine's socket, add the socket's group:
# docker run --group-add "$(stat -c %g /var/run/docker.sock)"
USER 65534:65534
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/kentros", "healthcheck"]
# The address is reachable from other containers: set KENTROS_TOKEN, or append --no-auth.
ENTRYPOINT ["/kentros"]
