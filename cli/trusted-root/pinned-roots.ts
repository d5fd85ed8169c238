/** The trusted roots that a file pins: itself, those in a signature policy, or those in OSImages. */
import { isDeepStrictEqual } from 'node:util';
import { parseAllDocuments } from 'yaml';
import * as z from 'zod';
import { CliError, sentenceOf } from '../errors.ts';

export interface PinnedRoot {
  /** For people: whose it is. */
  readonly where: string;
  /** The authority of a policy that pins it; nothing for a file that is a trusted root itself. */
  readonly authority?: string;
  /** What the JSON says, whatever its spaces. */
  readonly content: unknown;
}

const PIN = z.looseObject({ trustedRoot: z.string() }).optional();
const POLICY = z.looseObject({
  authorities: z.array(z.looseObject({ name: z.string(), keyless: PIN, transparencyLog: PIN })),
});
const OS_IMAGE = z.looseObject({ spec: z.looseObject({ image: z.looseObject({ verification: POLICY }) }) });
const ROOT = z.looseObject({ mediaType: z.string().startsWith('application/vnd.dev.sigstore.trustedroot') });

/**
 * All that a file pins, in its order.
 * @param path for messages.
 * Throws CliError `InvalidFile`, also for a file that pins nothing.
 */
export function pinnedRoots(text: string, path: string): readonly PinnedRoot[] {
  const found = documentsOf(text, path).flatMap((document): readonly PinnedRoot[] => {
    if (ROOT.safeParse(document).success) return [{ where: path, content: document }];
    const policy = POLICY.safeParse(document).data ?? OS_IMAGE.safeParse(document).data?.spec.image.verification;
    return (policy?.authorities ?? []).flatMap(({ name, keyless, transparencyLog }) =>
      Object.entries({ keyless, transparencyLog }).flatMap(([use, pin]) =>
        pin === undefined ? [] : [pinOf(pin.trustedRoot, name, use, path)],
      ),
    );
  });
  if (found.length > 0) return found;
  throw new CliError(
    'InvalidFile',
    `${path} pins no trusted root: give a trusted_root.json, a signature policy or an OSImage that has one.`,
  );
}

/** Whether it says the same as `text`, the JSON of another. */
export function isSame({ content }: PinnedRoot, text: string): boolean {
  return isDeepStrictEqual(content, JSON.parse(text));
}

function documentsOf(text: string, path: string): readonly unknown[] {
  try {
    return parseAllDocuments(text, { strict: true, uniqueKeys: true, logLevel: 'error' }).map((document) => {
      if (document.errors[0] !== undefined) throw document.errors[0];
      return document.toJS() as unknown;
    });
  } catch (cause) {
    throw new CliError('InvalidFile', `${path} is neither JSON nor YAML: ${sentenceOf(cause)}`, { cause });
  }
}

function pinOf(text: string, authority: string, use: string, path: string): PinnedRoot {
  try {
    return { where: `${path}, authority ${authority} (${use})`, authority, content: JSON.parse(text) as unknown };
  } catch (cause) {
    throw new CliError(
      'InvalidFile',
      `The trusted root of authority ${authority} in ${path} is no JSON: ${sentenceOf(cause)}`,
      { cause },
    );
  }
}
