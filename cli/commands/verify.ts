/** `treeline verify`: who has signed an image, judged as the operator and the agents judge it. */
import { formatRegistryName, resolveTag } from '../../registry/index.ts';
import {
  type KeylessText,
  parseSignaturePolicy,
  type TransparencyLogText,
  verifyImage,
} from '../../registry/signatures/index.ts';
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
    'transparency-log': {
      type: 'string',
      value: 'FILE',
      description:
        'trusted_root.json: signatures with a key count only if a transparency log of it has seen them. Nobody is asked; the proof has to be attached.',
    },
    'certificate-identity': {
      type: 'string',
      value: 'SUBJECT',
      description:
        'Take signatures with a certificate of this subject (an e-mail address or a URI; `*` stands for any characters). With --certificate-oidc-issuer and --trusted-root.',
    },
    'certificate-oidc-issuer': {
      type: 'string',
      value: 'URL',
      description: 'The issuer that such a certificate must name.',
    },
    'trusted-root': {
      type: 'string',
      value: 'FILE',
      description: 'trusted_root.json: the certificate authorities and logs that are believed for that.',
    },
    all: {
      type: 'boolean',
      description: 'There must be a signature of every key, and with a certificate where one is asked for.',
    },
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
    const log = flags['transparency-log'];
    const transparencyLog = log === undefined ? undefined : { trustedRoot: await readText(log) };
    const authorities: {
      name: string;
      publicKeys?: string[];
      transparencyLog?: TransparencyLogText | undefined;
      keyless?: KeylessText;
      signedRepository: string | undefined;
    }[] = await Promise.all(
      flags.key.map(async (path) => ({
        name: path,
        publicKeys: [await readText(path)],
        transparencyLog,
        signedRepository,
      })),
    );
    const keyless = await keylessOf(flags);
    if (keyless !== undefined) authorities.push({ name: keyless.subject, keyless, signedRepository });
    if (authorities.length === 0)
      throw new CliError('Usage', 'By whom? Give --key, or --certificate-identity with its issuer and trusted root.');
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

/** All three flags, or none. */
async function keylessOf(flags: {
  readonly 'certificate-identity': string | undefined;
  readonly 'certificate-oidc-issuer': string | undefined;
  readonly 'trusted-root': string | undefined;
}): Promise<KeylessText | undefined> {
  const { 'certificate-identity': subject, 'certificate-oidc-issuer': issuer, 'trusted-root': root } = flags;
  if (subject === undefined && issuer === undefined && root === undefined) return undefined;
  if (subject === undefined || issuer === undefined || root === undefined)
    throw new CliError(
      'Usage',
      '--certificate-identity, --certificate-oidc-issuer and --trusted-root need one another.',
    );
  return { subject, issuer, trustedRoot: await readText(root) };
}
