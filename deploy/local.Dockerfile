# The image of ../Dockerfile from a static binary that is built already:
#
#   RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target x86_64-unknown-linux-gnu
#   docker build -t kentros -f deploy/local.Dockerfile .
#
# A file of its own, for builders older than BuildKit make every stage of a file, wanted or not.

FROM scratch
ARG TARGET=x86_64-unknown-linux-gnu
COPY target/${TARGET}/release/kentros /kentros
ENV KENTROS_ADDR=0.0.0.0:9001
EXPOSE 9001
# Nobody. To read the engine's socket it takes the socket's group besides:
# --group-add "$(stat -c %g /var/run/docker.sock)"
USER 65534:65534
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/kentros", "healthcheck"]
# It is open to other containers: give it KENTROS_TOKEN, or --no-auth behind its name.
ENTRYPOINT ["/kentros"]
