/** The file that says how an image is composed, so that a repository of configuration can hold it. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import * as z from 'zod';
import { CliError, sentenceOf } from '../errors.ts';

const text = z.string().min(1);

const composeFileSchema = z
  .strictObject({
    /** Directory with the tree of a system. */
    rootfs: text.optional(),
    /** Image to build upon. */
    base: text.optional(),
    /** File with instructions for what goes on top of it. */
    containerfile: text.optional(),
    /** The same, one instruction each. */
    layers: z.array(text).min(1).optional(),
    /** What COPY and ADD copy from; the directory of this file by default. */
    context: text.optional(),
    destination: text.optional(),
    version: text.optional(),
    labels: z.record(text, z.string()).optional(),
    command: z.array(text).min(1).optional(),
    bootable: z.boolean().optional(),
    /** Image, or file with its manifest. */
    previous: text.optional(),
    maxLayers: z.int().min(1).max(500).optional(),
    compression: z.enum(['default', 'fast', 'zstd', 'zstd:chunked']).optional(),
    signingKey: text.optional(),
  })
  .refine(
    ({ rootfs, base, containerfile }) => (rootfs === undefined) !== (base === undefined && containerfile === undefined),
    {
      error: 'it takes either rootfs, or base, or containerfile (with base or with a FROM of its own)',
    },
  )
  .refine(({ containerfile, layers }) => containerfile === undefined || layers === undefined, {
    error: 'layers and containerfile say the same; leave one out',
  })
  .refine(({ base, layers }) => layers === undefined || base !== undefined, {
    error: 'layers need a base to lie upon',
  });

export type ComposeFile = z.infer<typeof composeFileSchema>;

/**
 * Reads and checks the file; paths in it are made absolute, as seen from where it lies. `previous` is one if a file lies there.
 * Throws CliError `FileUnreadable` or `InvalidFile`.
 */
export async function readComposeFile(path: string): Promise<ComposeFile> {
  let source: string;
  try {
    source = await readFile(path, 'utf8');
  } catch (cause) {
    throw new CliError('FileUnreadable', `The compose file cannot be read: ${sentenceOf(cause)}`, { cause });
  }
  const file = parseComposeFile(source, path);
  const at = (name: string | undefined): string | undefined => name && resolve(dirname(path), name);
  const [rootfs, containerfile, signingKey] = [at(file.rootfs), at(file.containerfile), at(file.signingKey)];
  const manifest = at(file.previous) ?? '';
  const isManifest = (await stat(manifest).catch(() => undefined))?.isFile() === true;
  return {
    ...file,
    context: resolve(dirname(path), file.context ?? '.'),
    ...(rootfs !== undefined && { rootfs }),
    ...(containerfile !== undefined && { containerfile }),
    ...(signingKey !== undefined && { signingKey }),
    ...(isManifest && { previous: manifest }),
  };
}

/** Unknown, repeated and misspelt members are refused. Throws CliError `InvalidFile`. */
export function parseComposeFile(source: string, path: string): ComposeFile {
  const document = parseDocument(source, { strict: true, uniqueKeys: true, merge: false });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) throw invalid(path, sentenceOf(problem).split('\n')[0] ?? '');
  const { success, data, error } = composeFileSchema.safeParse(document.toJS({ maxAliasCount: 0 }));
  if (success) return data;
  throw invalid(
    path,
    error.issues.map(({ path: at, message }) => [at.join('.'), message].filter(Boolean).join(': ')).join('; '),
  );
}

function invalid(path: string, why: string): CliError {
  return new CliError('InvalidFile', `${path} is not a compose file: ${why}`);
}
