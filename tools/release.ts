/**
 * `npm run release`: the archive that is published for one architecture, `dist/treeline-VERSION-linux-ARCH.tar.gz`. From
 * the same checkout it is the same to the byte, whenever and wherever it is made. It needs a Node of the version that
 * package.json names.
 */
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { bundle } from './build.ts';
import { archiveOf } from './release/archive.ts';
import { billOfMaterials } from './release/bill-of-materials.ts';
import { auditSignatures } from './release/registry-signatures.ts';
import { shippedPackages } from './release/shipped-package.ts';
import { thirdPartyLicences } from './release/third-party-licences.ts';
import { readFlags } from './script-flags.ts';

const ROOT = join(import.meta.dirname, '..');

const LAUNCHER = `#!/bin/sh
exec node "$(dirname "$(readlink -f "$0")")/../dist/treeline.mjs" "$@"
`;

/** What koffi loads on this architecture; its sources and documents stay behind. */
const NATIVE_FILES = ['package.json', 'index.js', 'src/koffi/index.js', 'src/koffi/src/static.js', 'LICENSE.txt'];

export interface Release {
  /** Of the archive. */
  readonly path: string;
  /** `sha256:…` */
  readonly digest: string;
  readonly bytes: number;
}

/** Makes the archive in `folder`, which need not exist. */
export async function release(folder: string): Promise<Release> {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { readonly version: string };
  const name = `treeline-${version}-linux-${process.arch}`;
  const scratch = mkdtempSync(join(tmpdir(), 'treeline-release-'));
  try {
    const tree = join(scratch, name);
    const metafile = await bundle(join(tree, 'dist'));
    const native = `@koromix/koffi-linux-${process.arch}`;
    for (const file of NATIVE_FILES) copy(`koffi/${file}`, tree);
    copy(native, tree);
    const packages = shippedPackages(ROOT, metafile, ['node_modules/koffi', `node_modules/${native}`]);
    writeFileSync(join(tree, 'sbom.cdx.json'), billOfMaterials(version, packages));
    writeFileSync(join(tree, 'THIRD-PARTY-LICENCES'), thirdPartyLicences(ROOT, packages));
    cpSync(join(ROOT, 'LICENSE'), join(tree, 'LICENSE'));
    mkdirSync(join(tree, 'bin'));
    writeFileSync(join(tree, 'bin', 'treeline'), LAUNCHER);
    chmodSync(join(tree, 'bin', 'treeline'), 0o755);
    cpSync(join(ROOT, 'bin', 'kubectl-osimage'), join(tree, 'bin', 'kubectl-osimage'));
    const archive = archiveOf(tree, name);
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${name}.tar.gz`);
    writeFileSync(path, archive);
    return { path, digest: `sha256:${createHash('sha256').update(archive).digest('hex')}`, bytes: archive.length };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function copy(path: string, tree: string): void {
  const target = join(tree, 'node_modules', path);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(join(ROOT, 'node_modules', path), target, { recursive: true, dereference: true });
}

/** False when nothing may be released: a package is not what its registry signed, or nobody could say and somebody wants to know. */
function mayBeReleased(isDemanded: boolean): boolean {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const audit = auditSignatures(ROOT);
  switch (audit.verdict) {
    case 'good':
      say('Every package has a good signature of its registry.');
      return true;
    case 'refused':
      say(`Not released: without a good signature of their registry: ${audit.packages.join(', ')}.`);
      return false;
    case 'unknown':
    default:
      say(`NOT VERIFIED: whether the packages are what their registry signed (${audit.reason}).`);
      say(
        isDemanded
          ? 'Not released: --require-signatures demands it.'
          : 'Run `npm audit signatures` where that host can be reached, before this is published; --require-signatures demands it.',
      );
      return !isDemanded;
  }
}

if (import.meta.main) {
  const { values } = readFlags({
    command: 'npm run release',
    does: 'Writes the archive that is published to dist/, after asking for the registry’s signatures of all packages.',
    flags: { 'require-signatures': { kind: 'switch', says: 'fails when nobody could be asked for them' } },
  });
  if (!mayBeReleased(values['require-signatures'])) process.exit(1);
  const { path, digest, bytes } = await release(join(ROOT, 'dist'));
  process.stdout.write(`${digest.slice('sha256:'.length)}  dist/${basename(path)}\n`);
  process.stderr.write(`${(bytes / 1e6).toFixed(1)} MB\n`);
}
