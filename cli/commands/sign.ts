/** `treeline sign`: a signature beside an image on a registry, as cosign and skopeo make it. */
import { readFile } from 'node:fs/promises';
import { parseAnyImageReference, parseRegistryName, type RegistryName } from '../../registry/index.ts';
import { parseSigningKey, type SigningKey, signImage } from '../../registry/signatures/index.ts';
import { defineCommand } from '../command.ts';
import { CliError, sentenceOf } from '../errors.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';

export const sign = defineCommand({
  name: 'sign',
  summary: 'Sign a container image on a registry with a private key.',
  description: [
    'The signature is stored beside the image, under the tag `sha256-DIGEST.sig`, in the form of `cosign` that podman and skopeo know too. Of an index every image in it is signed as well. Signing again changes nothing.',
    'An encrypted key asks for a password: the content of --password-file, else of the environment variable COSIGN_PASSWORD.',
  ],
  args: { IMAGE: 'The image: host/name:tag or host/name@sha256:….' },
  flags: {
    key: {
      type: 'string',
      value: 'FILE',
      required: true,
      description: 'Private key: a PEM file of openssl (PKCS#8), or of `cosign generate-key-pair`.',
    },
    'password-file': {
      type: 'string',
      value: 'FILE',
      description: "The key's password; a line break at its end is left out.",
    },
    'sign-as': {
      type: 'string',
      value: 'HOST/NAME',
      description: 'The name that is signed, for images that are copied to there; by default that of IMAGE.',
    },
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline sign --key cosign.key quay.io/example/os:1',
    'treeline sign --key release.pem --sign-as quay.io/example/os staging.example.com/os@sha256:8a6e…',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    const registry = await registryOptions(flags, environment, output);
    const image = onRegistry(args.IMAGE);
    const signAs = flags['sign-as'] === undefined ? undefined : plainName(flags['sign-as']);
    const key = await readSigningKey(flags.key, flags['password-file'], environment);
    const done = await signImage({ image, key, registry, signal, ...(signAs === undefined ? {} : { signAs }) });
    const lines = [
      ...done.signed.map((digest) => `Signed ${digest}`),
      ...done.already.map((digest) => `Already signed ${digest}`),
      `  Key: ${key.publicKey.fingerprint} (${key.publicKey.algorithm})`,
    ];
    output.result({ image: args.IMAGE, ...done, key: key.publicKey.fingerprint }, lines.join('\n'));
    return 0;
  },
});

/** Only a registry can hold signatures beside an image. */
export function onRegistry(text: string): RegistryName {
  const { image } = parseAnyImageReference(text);
  if (image.transport !== 'registry')
    throw new CliError('Usage', `${text} is not on a registry, and only there are signatures kept beside an image.`);
  return parseRegistryName(image.name);
}

/** A name without tag and digest. Throws CliError `Usage`. */
export function plainName(text: string): string {
  const { host, repository, tag, digest } = parseRegistryName(text);
  if (tag !== undefined || digest !== undefined)
    throw new CliError('Usage', `${text} has a tag or a digest; give HOST/NAME alone.`);
  return `${host}/${repository}`;
}

/** Throws CliError `FileUnreadable`, SignatureError. */
export async function readSigningKey(
  path: string,
  passwordFile: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<SigningKey> {
  const password =
    passwordFile === undefined ? environment['COSIGN_PASSWORD'] : (await readText(passwordFile)).replace(/\r?\n$/, '');
  return parseSigningKey(await readText(path), password, path);
}

/** Throws CliError `FileUnreadable`. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new CliError('FileUnreadable', `${path} cannot be read: ${sentenceOf(cause)}`, { cause });
  }
}
