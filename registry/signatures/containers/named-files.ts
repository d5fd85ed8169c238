/** The keys and certificates that a policy trusts: in files that it names, or in the policy itself. */
import { digestOf } from '../../digest.ts';
import { reasonOf, RegistryError } from '../../errors.ts';
import { SignatureError } from '../errors.ts';

export interface NamingPolicy {
  /** The policy file, for messages. */
  readonly path: string;
  /** Reads a file that the policy names; throws SignatureError `InvalidKey`. */
  readonly readKey: (path: string) => Promise<Buffer>;
}

/** Members `…Path`, `…Paths`, `…Data` (base64) and `…Datas`, of which a policy has at most one. */
export interface NamedFiles {
  readonly path?: string | undefined;
  readonly paths?: readonly string[] | undefined;
  readonly data?: string | undefined;
  readonly datas?: readonly string[] | undefined;
}

export interface NamedFile {
  /** For messages. */
  readonly where: string;
  readonly bytes: Buffer;
}

/**
 * @param member what the texts in the policy are called there, as `keyData`.
 * @throws SignatureError `InvalidKey`
 */
export async function readNamed(
  policy: NamingPolicy,
  member: string,
  named: NamedFiles,
): Promise<readonly NamedFile[]> {
  const paths = [...(named.path === undefined ? [] : [named.path]), ...(named.paths ?? [])];
  const datas = [...(named.data === undefined ? [] : [named.data]), ...(named.datas ?? [])];
  const files = await Promise.all(paths.map(async (path) => ({ where: path, bytes: await policy.readKey(path) })));
  const inline = datas.map((data) => {
    const bytes = Buffer.from(data, 'base64');
    return { where: `${member} (${digestOf(bytes).slice(0, 19)}…) of ${policy.path}`, bytes };
  });
  return [...files, ...inline];
}

/** What reads the files of a policy from below `root`. */
export function keyReader(read: (path: string) => Promise<Buffer>): NamingPolicy['readKey'] {
  return async (path) => {
    try {
      return await read(path);
    } catch (cause) {
      if (cause instanceof RegistryError) throw cause;
      throw new SignatureError(
        'InvalidKey',
        `The key ${path} of the signature policy cannot be read (${reasonOf(cause)}): put it there, or correct the policy.`,
        { cause },
      );
    }
  };
}
