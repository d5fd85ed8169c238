/** Small images made in code: the bytes of a layer need not be a tar for a registry to carry them. */
import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { canonicalJson, type Descriptor, digestOf, type ImageManifest, MEDIA_TYPE } from '../../../registry/index.ts';

export interface SampleImage {
  readonly manifest: ImageManifest;
  readonly manifestBytes: Buffer;
  readonly digest: string;
  readonly layer: Descriptor;
  /** By digest: config and layers. */
  readonly blobs: ReadonlyMap<string, Buffer>;
}

export interface SampleOptions {
  readonly architecture?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly layer?: Buffer;
  /** Gzip the layer, as other tools would on their own account. */
  readonly compressed?: boolean;
}

export const AMD64 = { os: 'linux', architecture: 'amd64' };

export function sampleImage(options: SampleOptions = {}): SampleImage {
  const plainBytes = options.layer ?? Buffer.from('a layer');
  const compressed = options.compressed ?? false;
  const layerBytes = compressed ? gzipSync(plainBytes, { level: 1 }) : plainBytes;
  const layer = describeBytes(layerBytes, compressed ? MEDIA_TYPE.layerGzip : MEDIA_TYPE.layerTar);
  const configBytes = Buffer.from(
    canonicalJson({
      architecture: options.architecture ?? 'amd64',
      os: 'linux',
      created: '2026-01-01T00:00:00Z',
      config: { Labels: options.labels ?? {} },
      rootfs: { type: 'layers', diff_ids: [digestOf(plainBytes)] },
      history: [{ created_by: 'test' }],
    }),
  );
  const config = describeBytes(configBytes, MEDIA_TYPE.config);
  const manifest: ImageManifest = { schemaVersion: 2, mediaType: MEDIA_TYPE.manifest, config, layers: [layer] };
  const manifestBytes = Buffer.from(canonicalJson(manifest));
  return {
    manifest,
    manifestBytes,
    digest: digestOf(manifestBytes),
    layer,
    blobs: new Map([
      [config.digest, configBytes],
      [layer.digest, layerBytes],
    ]),
  };
}

export function describeBytes(bytes: Buffer, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

/** Answers like a registry that holds these documents (by tag or digest) and blobs. */
export function answerFrom(
  documents: Readonly<Record<string, { bytes: Buffer; mediaType?: string }>>,
  blobs: ReadonlyMap<string, Buffer>,
): (path: string, response: ServerResponse) => void {
  return (path, response) => {
    const [, kind, reference] = /\/(manifests|blobs)\/([^?]+)/.exec(path) ?? [];
    if (kind === 'manifests' && reference !== undefined && documents[reference] !== undefined) {
      const { bytes, mediaType } = documents[reference];
      response.writeHead(200, { 'content-type': mediaType ?? MEDIA_TYPE.manifest });
      response.end(bytes);
      return;
    }
    const blob = reference === undefined ? undefined : blobs.get(reference);
    if (kind === 'blobs' && blob !== undefined) {
      response.writeHead(200, { 'content-length': blob.length });
      response.end(blob);
      return;
    }
    response.writeHead(404, { 'content-type': 'application/json' });
    response.end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
  };
}

export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
