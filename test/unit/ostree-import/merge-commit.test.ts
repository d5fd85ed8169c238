import assert from 'node:assert/strict';
import { mergeCommit, readImageMetadata } from '../../../ostree/import/merge-commit.ts';
import { encodeCommit, metadataChecksum } from '../../../ostree/objects/commit.ts';
import type { ImageConfig, ImageManifest } from '../../../registry/index.ts';

/** An image of two chunks, made by ostree-ext. */
const MANIFEST_DIGEST = 'sha256:667b09c5f4f2305d105a857020d42deb65b2de6476abfcb09ba5c45783b44c4e';
const MANIFEST: ImageManifest = {
  annotations: {
    'containers.bootc': '1',
    'org.opencontainers.image.version': '42.1',
    'ostree.bootable': 'true',
    'ostree.commit': '22a20ae0ddc07da9318fd8e210ac87e28403d54efeb9279fa574ffb016e4f851',
    'ostree.final-diffid': 'sha256:673014fff8c5582ff71fabffdff76336a8f944b3534cd8130b7f77a07868247f',
    'ostree.linux': '6.1.0-test',
  },
  config: {
    digest: 'sha256:3e6244cb09bfa5f0b42d30b4316532f01a3a5a9e8e3be15fcb04be13f41ede17',
    mediaType: 'application/vnd.oci.image.config.v1+json',
    size: 915,
  },
  layers: [
    {
      digest: 'sha256:e7c901e71cbd11162912f0effb9fc684d169ca398de14014fad03c7ca0baeacb',
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      size: 5170,
    },
    {
      annotations: {
        'ostree.components': 'bash',
      },
      digest: 'sha256:20fd8dfbb3894302c65cdd19a623697269b97c48f4c5dffe3ab8ce2431555b03',
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      size: 2739,
    },
    {
      annotations: {
        'ostree.components': 'iputils',
      },
      digest: 'sha256:d470bb454f85d5b12aa1a5590413b2b8485d8af851aba6bb6b5f61d6895db7fa',
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      size: 2680,
    },
  ],
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  schemaVersion: 2,
};
const CONFIG: ImageConfig = {
  architecture: 'amd64',
  config: {
    Labels: {
      'containers.bootc': '1',
      'org.opencontainers.image.version': '42.1',
      'ostree.bootable': 'true',
      'ostree.commit': '22a20ae0ddc07da9318fd8e210ac87e28403d54efeb9279fa574ffb016e4f851',
      'ostree.final-diffid': 'sha256:673014fff8c5582ff71fabffdff76336a8f944b3534cd8130b7f77a07868247f',
      'ostree.linux': '6.1.0-test',
    },
  },
  created: '1997-08-29T18:30:42Z',
  history: [
    {
      created: '1997-08-29T18:30:42Z',
      created_by: 'ostree export of commit 22a20ae0ddc07da9318fd8e210ac87e28403d54efeb9279fa574ffb016e4f851',
    },
    {
      created: '1997-08-29T18:30:42Z',
      created_by: 'bash',
    },
    {
      created: '1997-08-29T18:30:42Z',
      created_by: 'iputils',
    },
  ],
  os: 'linux',
  rootfs: {
    diff_ids: [
      'sha256:3f2e0422e7b9e6d511531a8d4af32e527a2138f2fb05537d043c0154cea8dab3',
      'sha256:f6c7fb11992ad9ff7c48faa82623bc788dddee1539161c3ef2783165910caa9b',
      'sha256:673014fff8c5582ff71fabffdff76336a8f944b3534cd8130b7f77a07868247f',
    ],
    type: 'layers',
  },
};
const BASE = '22a20ae0ddc07da9318fd8e210ac87e28403d54efeb9279fa574ffb016e4f851';
const ROOT = {
  dirtree: '8ff8c4c3504711756a859688b88bd78bce3ab7f25f370fcebace236719f9dc3d',
  dirmeta: '50773817e4519629fb061cb3cfe4ddae0a996c12336d087042481fbeab1a380c',
};

describe('the merge commit', () => {
  const image = { manifestDigest: MANIFEST_DIGEST, manifest: MANIFEST, config: CONFIG };

  it('is, byte for byte, the one that bootc makes of the same image', () => {
    const bytes = encodeCommit(mergeCommit(image, BASE, ROOT, new Date(0)));
    assert.equal(bytes.length, 2356);
    assert.equal(metadataChecksum(bytes), '618c3ef1da88c857ab1ab8f8b62e46feed4337736f5839a56afea8ef45c51d74');
  });

  it('takes its time from the annotation, then from the config, then from the clock', () => {
    const time = (annotation?: string, created?: string): number => {
      const annotations = annotation === undefined ? {} : { 'org.opencontainers.image.created': annotation };
      const { created: _old, ...config } = CONFIG;
      const dated = {
        ...image,
        manifest: { ...MANIFEST, annotations },
        config: { ...config, ...(created !== undefined && { created }) } as ImageConfig,
      };
      return mergeCommit(dated, BASE, ROOT, new Date(7_500)).timestamp;
    };
    assert.equal(time('2024-01-02T03:04:05.9+01:00', '2020-01-01T00:00:00Z'), 1_704_161_045);
    assert.equal(time(undefined, '2020-01-01T00:00:00Z'), 1_577_836_800);
    assert.equal(time('yesterday', undefined), 7);
  });

  it('gives back what was stored', () => {
    const { metadata } = mergeCommit(image, BASE, ROOT, new Date(0));
    assert.deepEqual(readImageMetadata(BASE, metadata), image);
    assert.throws(() => readImageMetadata(BASE, []), { name: 'ImportError', code: 'NotImageCommit' });
  });
});
