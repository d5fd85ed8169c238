# The image in which OSImageBuilds are made (`treeline operator --builder-image`): Treeline's own, with buildah in it. Neither
# the operator nor an agent runs in this one: what builds need is nothing that nodes should have.
# Build: buildah bud --file Dockerfile.builder --tag registry.example.com/treeline-builder:0.1.0 .

ARG TREELINE=registry.treeline.dev/treeline:0.1.0
FROM ${TREELINE}
# In a user namespace of the pod's own, where that is nobody on the node.
USER 0
RUN apt-get update && apt-get install --yes --no-install-recommends buildah && rm -rf /var/lib/apt/lists/*
# Without such a file buildah does not look at the STORAGE_DRIVER of the pod, and takes the first driver that it can.
RUN printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' >/etc/containers/storage.conf
