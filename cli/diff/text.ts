/** The difference of two operating systems for a terminal. */
import type { DescribedLayer, PackageChanges } from '../../ostree/index.ts';
import { formatBytes, formatTable, shortDigest } from '../format.ts';
import type { ComparedLayer, Difference, NamedPackages } from './difference.ts';

/** Packages that are named in a line. */
const MAX_NAMES = 4;

export function differenceText(difference: Difference): string {
  const { from, to, layers, packages, packageNames, content } = difference;
  const sections = [
    formatTable([
      ['From:', ...about(from)],
      ['To:', ...about(to)],
    ]),
  ];
  if (layers !== null) {
    const { added, shared, total } = layers;
    const share = `${added.layers} of ${total.layers} layers are new, ${shared.layers} are shared`;
    sections.push(`To pull: ${formatBytes(added.bytes)}, ${share}`);
  }
  if (content !== null) {
    const { added, removed } = content;
    sections.push(
      `Content: ${added.objects} new files with ${formatBytes(added.bytes)}, ${removed.objects} gone with ${formatBytes(removed.bytes)} (uncompressed)`,
    );
  }
  if (packages !== null) sections.push(packagesText(packages));
  else if (packageNames !== null) sections.push(namesText(packageNames));
  else sections.push(`Packages: not known; ${HINT}`);
  const toPull = largestFirst(layers?.layers.filter(({ isNew }) => isNew) ?? []);
  if (toPull.length > 0) {
    const rows = toPull.map((layer) => [`  ${shortDigest(layer.digest)}`, formatBytes(layer.size), reasonFor(layer)]);
    sections.push(`Layers to pull:\n${formatTable(rows)}`);
  }
  return sections.join('\n\n');
}

const HINT = '`--fetch-packages` fetches the layers that hold the package databases, `--repo` reads them there';

function about({ name, version, digest, commit }: Difference['from']): readonly string[] {
  return [name, version ?? '', digest === undefined ? (commit ?? '') : shortDigest(digest)];
}

function packagesText({ added, removed, updated, unchanged }: PackageChanges): string {
  const counts = `Packages: ${updated.length} updated, ${added.length} added, ${removed.length} removed, ${unchanged} unchanged`;
  const rows = [
    ...updated.map(({ before, after, direction }) => [
      direction === 'downgrade' ? '  v' : '  ^',
      before.name === after.name ? after.name : `${before.name} → ${after.name}`,
      `${before.version} → ${after.version}${direction === 'downgrade' ? ' (downgrade)' : ''}`,
      formatBytes(after.size),
      formatChange(after.size - before.size),
    ]),
    ...added.map(({ name, version, size }) => ['  +', name, version, formatBytes(size)]),
    ...removed.map(({ name, version, size }) => ['  -', name, version, formatBytes(size)]),
  ];
  return rows.length === 0 ? counts : `${counts}\n${formatTable(rows)}`;
}

function namesText({ added, removed, maybeUpdated }: NamedPackages): string {
  return [
    `Packages, by the layers' annotations, which tell no versions (${HINT}):`,
    ...added.map((name) => `  +  ${name}`),
    ...removed.map((name) => `  -  ${name}`),
    `  ${maybeUpdated.length} are in layers that differ`,
  ].join('\n');
}

/** `+1.2 MB`, `-3 kB`; empty for no change. */
export function formatChange(bytes: number): string {
  return bytes === 0 ? '' : `${bytes < 0 ? '-' : '+'}${formatBytes(Math.abs(bytes))}`;
}

function reasonFor(layer: ComparedLayer): string {
  const { changed, gone } = layer;
  const reasons = [
    ...(changed.length > 0 ? [`of ${fewNames(changed)}`] : []),
    ...(gone.length > 0 ? [`${fewNames(gone)} ${gone.length === 1 ? 'is' : 'are'} gone`] : []),
  ];
  return reasons.length === 0 ? layerName(layer) : `because ${reasons.join(', and because ')}`;
}

/** By size; those of one size in the order of the image. */
export function largestFirst(layers: readonly ComparedLayer[]): readonly ComparedLayer[] {
  return layers.toSorted((a, b) => b.size - a.size);
}

/** What is in a layer, in a few words. */
export function layerName({ components, createdBy }: DescribedLayer): string {
  return components === undefined || components.length === 0 ? (createdBy ?? '') : fewNames(components);
}

function fewNames(names: readonly string[]): string {
  const more = names.length - MAX_NAMES;
  return `${names.slice(0, MAX_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
