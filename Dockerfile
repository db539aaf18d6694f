# drover in a container: `docker build -t drover:0.1.0 .`
#
# BASE and PACKAGES are for machines that reach no registry: an image with Node, QEMU, the system parts below and
# /opt/drover/node_modules, built from the machine's own files (`node scripts/container-base.mjs`), then
#   docker build --build-arg BASE=drover-base --build-arg PACKAGES=base -t drover:0.1.0 .
ARG BASE=docker.io/library/node:22.20.0-bookworm-slim

FROM ${BASE} AS packages
ARG PACKAGES=registries
WORKDIR /opt/drover
COPY package.json package-lock.json .npmrc ./
# util-linux has setpriv and prlimit, by which a worker that is root runs QEMU as another user.
RUN if [ "$PACKAGES" = registries ]; then \
      apt-get update && \
      apt-get install -y --no-install-recommends qemu-system-x86 qemu-utils ovmf util-linux ca-certificates && \
      rm -rf /var/lib/apt/lists/* && \
      npm ci --omit=dev --no-audit --no-fund && npm cache clean --force; \
    fi

FROM packages AS compiled
ARG PACKAGES=registries
WORKDIR /build
COPY . .
# A dist that was made from exactly these sources is taken as it is: then no compiler is needed.
RUN if [ "$PACKAGES" = registries ]; then npm ci --no-audit --no-fund; fi; node scripts/build.mjs

FROM packages
COPY --from=compiled /build/dist ./dist
COPY bin ./bin
COPY deploy/container/entrypoint.sh deploy/container/healthy.sh LICENSE ./
# What a worker keeps: its own state directory, so that a container made anew finds what the one before left.
RUN mkdir -p /var/lib/drover /etc/drover /usr/local/bin && ln -s /opt/drover/bin/drover /usr/local/bin/drover && \
    chown 10001:10001 /var/lib/drover /etc/drover && chmod 0700 /var/lib/drover
ENV NODE_ENV=production DROVER_STATE_DIR=/var/lib/drover HOME=/var/lib/drover
USER 10001:10001
ENTRYPOINT ["/opt/drover/entrypoint.sh"]
CMD ["--help"]
