# One image for the operator and the agent: `treeline operator`, `treeline agent`.
#
# The agent needs the host's own `ostree`; none is in here. The DaemonSet shares the host's processes and mounts its root
# at /host: files of the host's repository are written there, and the host's tools are run in the mount namespace of its
# process 1 by the `nsenter` of this base. Its `unshare`, `setpriv`, `prlimit` and `pivot_root` confine what unpacks layers.
#
# From the same sources, base and packages it is the same image to the byte (docs/decisions/0063): what runs something is a
# stage of its own, of which only what it is for is copied, and the builder gives all files one time.
# What is started allows no dump of its memory: Pods have no field for that.
# Build: buildah bud --timestamp "$(git log -1 --format=%ct)" --tag registry.treeline.dev/treeline:0.1.0 .

FROM node:26.10.0-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build \
    && printf '#!/bin/sh\nulimit -c 0\nexec node /opt/treeline/dist/treeline.mjs "$@"\n' >treeline && chmod 0755 treeline

# Not --omit=optional: that would drop the native half of koffi, the one package that is not in the bundle.
FROM node:26.10.0-bookworm-slim AS dependencies
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts

# Decompresses gzip layers faster than zlib; without it zlib does. Its entry in status.d tells scanners of it.
FROM node:26.10.0-bookworm-slim AS library
RUN apt-get update && apt-get install --yes --no-install-recommends libisal2 \
    && mkdir -p /library/var/lib/dpkg/status.d && dpkg --status libisal2 >/library/var/lib/dpkg/status.d/libisal2 \
    && dpkg --listfiles libisal2 | while read -r path; do if [ -f "$path" ]; then cp -P --parents "$path" /library; fi; done

FROM node:26.10.0-bookworm-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Treeline" \
      org.opencontainers.image.description="Keeps every node's operating system on the OSTree container image an OSImage names" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
ENV NODE_ENV=production
WORKDIR /opt/treeline
COPY --from=library /library/ /
COPY --chmod=0644 LICENSE ./
COPY --from=dependencies /src/node_modules/koffi node_modules/koffi
COPY --from=dependencies /src/node_modules/@koromix node_modules/@koromix
COPY --from=build /src/dist dist
COPY --from=build /src/treeline /usr/local/bin/treeline
# The operator's user. The agent is root, because the DaemonSet says so.
USER 65532:65532
ENTRYPOINT ["treeline"]
