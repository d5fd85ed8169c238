/** `treeline verify`: who has signed an image, judged as the operator and the agents judge it. */
import { formatRegistryName, resolveTag } from '../../registry/index.ts';
import { parseSignaturePolicy, verifyImage } from '../../registry/signatures/index.ts';
import { defineCommand } from '../command.ts';
import { CliError } from '../errors.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { onRegistry, plainName, readText } from './sign.ts';

export const verify = defineCommand({
  name: 'verify',
  summary: 'Verify the signatures of a container image on a registry.',
  description: [
    'Looks at the tag `sha256-DIGEST.sig` and at the referrers of the image: signatures of cosign in the older and the newer format, of skopeo and podman (sigstore), and of `treeline sign`. Nothing but the registry is asked.',
  ],
  args: { IMAGE: 'The image: host/name:tag or host/name@sha256:….' },
  flags: {
    key: {
      type: 'string',
      value: 'FILE',
      multiple: true,
      description: 'PEM file with a public key (cosign.pub). A signature of one of them is enough.',
    },
    all: { type: 'boolean', description: 'There must be a signature of every key.' },
    'signed-as': {
      type: 'string',
      value: 'HOST/NAME',
      description:
        'The name that must have been signed, for images that were copied; by default that of IMAGE. Signatures in the newer format of cosign name none: with this flag they do not count.',
    },
    ...REGISTRY_FLAGS,
  },
  examples: ['treeline verify --key cosign.pub quay.io/example/os:1'],
  run: async ({ flags, args, output, signal, environment }) => {
    const registry = await registryOptions(flags, environment, output);
    const image = onRegistry(args.IMAGE);
    const signedRepository = flags['signed-as'] === undefined ? undefined : plainName(flags['signed-as']);
    const authorities = await Promise.all(
      flags.key.map(async (path) => ({ name: path, publicKeys: [await readText(path)], signedRepository })),
    );
    if (authorities.length === 0) throw new CliError('Usage', 'By whose key? Give --key at least once.');
    const policy = parseSignaturePolicy({ authorities, match: flags.all ? 'All' : 'Any' }, 'the flags --key');
    const { digest } = await resolveTag({ transport: 'registry', name: formatRegistryName(image) }, registry, signal);
    const found = await verifyImage({ repository: image, digest, policies: [policy], registry, signal });
    output.result(
      { image: args.IMAGE, digest, ...found },
      [
        `Verified ${args.IMAGE}`,
        `  Digest: ${digest}`,
        ...found.signers.map(({ authority, key }) => `  Signed: ${authority} (${key})`),
      ].join('\n'),
    );
    return 0;
  },
});
