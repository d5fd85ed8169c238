/** What an image of the benchmark consists of, as it lies in the registry's storage. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ImageManifest } from '../registry/index.ts';

export interface LayerContent {
  /** Of the blob. */
  readonly digest: string;
  /** The gzip file. */
  readonly path: string;
  /** Bytes of it. */
  readonly compressed: number;
  /** Bytes of each object in it: a file's content, a directory's or the commit's object. */
  readonly objects: readonly number[];
}

/** Reads the manifest from the registry, and what is in the layers by tar(1). */
export async function readImageContent(url: string, storage: string, image: string): Promise<readonly LayerContent[]> {
  const [repository, tag] = image.split(':');
  const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
  const response = await fetch(`${url}/v2/${repository}/manifests/${tag}`, { headers });
  if (!response.ok) throw new Error(`GET ${response.url} answered ${response.status}`);
  const { layers } = (await response.json()) as ImageManifest;
  const contents: LayerContent[] = [];
  for (const { digest, size } of layers) {
    const path = blobPath(storage, digest);
    contents.push({ digest, path, compressed: size, objects: await objectSizes(path) });
  }
  return contents;
}

/** As distribution's filesystem driver lays blobs out. */
function blobPath(storage: string, digest: string): string {
  const hex = digest.slice('sha256:'.length);
  return join(storage, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
}

async function objectSizes(path: string): Promise<readonly number[]> {
  const tar = spawn('tar', ['--list', '--verbose', '--numeric-owner', '--gzip', '--file', path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(tar, 'close') as Promise<[number | null]>;
  const sizes: number[] = [];
  for await (const line of createInterface({ input: tar.stdout })) {
    const match = /^-\S+ +\d+\/\d+ +(\d+) \S+ \S+ \S*\.(?:file|dirtree|dirmeta|commit)$/.exec(line);
    if (match !== null) sizes.push(Number(match[1]));
  }
  const [code] = await closed;
  if (code !== 0) throw new Error(`tar --list of ${path} ended with ${code}`);
  return sizes;
}
