/** One object of each kind for the reference pages. A test gives both to the API server, under strict validation. */

export const OS_IMAGE_EXAMPLE = `apiVersion: treeline.dev/v1alpha1
kind: OSImage
metadata:
  name: workers
spec:
  nodeSelector:
    matchLabels:
      node-role.kubernetes.io/worker: ""
  image:
    reference: registry.example.org/os/workers:stable
    updatePolicy: Automatic
    pullSecretRef:
      name: registry-credentials
    mirrors:
      - mirror.example.org/copies/os/workers
  rollout:
    maxUnavailable: 10%
  reboot:
    timeoutSeconds: 600
  health:
    minReadySeconds: 60
`;

const DIGEST = `sha256:${'4f'.repeat(32)}`;

export const NODE_OS_EXAMPLE = `apiVersion: treeline.dev/v1alpha1
kind: NodeOS
metadata:
  name: worker-1
spec:
  imageName: workers
  nodeUID: 0d0a9c1e-6f4b-4a3e-9a53-1f6f3a8f2c11
  order:
    id: 7-boot
    goal: Boot
    image: ostree-unverified-registry:registry.example.org/os/workers@${DIGEST}
    digest: ${DIGEST}
    bootApproval:
      digest: ${DIGEST}
      notBefore: "2026-11-23T12:00:00Z"
      notAfter: "2026-11-23T12:15:00Z"
    pullSecretRef:
      name: registry-credentials
`;

export const OS_IMAGE_BUILD_EXAMPLE = `apiVersion: treeline.dev/v1alpha1
kind: OSImageBuild
metadata:
  name: workers
spec:
  base: registry.example.org/os/debian:12
  containerfile: |
    FROM debian
    RUN apt-get update && apt-get install -y containerd
    COPY containerd.toml /etc/containerd/config.toml
  context:
    configMapName: workers-7h2k9c
  destination: registry.example.org/os/workers:stable
  pushSecretRef:
    name: registry-credentials
  signingKeySecretRef:
    name: cosign
  rebuildIntervalSeconds: 86400
`;
