/** The difference of two operating systems as a page for a browser: one file, without anything from elsewhere. */
import { formatBytes, shortDigest } from '../format.ts';
import type { ComparedLayer, Difference } from './difference.ts';
import { PAGE_SCRIPT, PAGE_STYLE } from './page-style.ts';
import { formatChange, largestFirst, layerName } from './text.ts';

/** Packages of a layer that are named although they did not change. */
const MAX_UNCHANGED_NAMES = 8;

/** The page. Equal differences give equal bytes. */
export function differencePage(difference: Difference): string {
  const { from, to } = difference;
  const title = `${from.version ?? from.name} → ${to.version ?? to.name}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escape(title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
<header>
${endpoint('From', from)}
<div class="arrow" aria-hidden="true">→</div>
${endpoint('To', to)}
</header>
<section class="figures">${figures(difference)}</section>
${layerStrip(difference)}
${packageTable(difference)}
${packageNames(difference)}
${layerTable(difference)}
</main>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

function endpoint(title: string, { name, version, digest, commit }: Difference['from']): string {
  const checksum = digest ?? commit;
  return `<div class="endpoint"><span class="label">${title}</span><strong>${escape(version ?? name)}</strong>${
    version === undefined ? '' : `<span class="name">${escape(name)}</span>`
  }${checksum === undefined ? '' : `<code title="${escape(checksum)}">${escape(short(checksum))}</code>`}</div>`;
}

function short(checksum: string): string {
  return checksum.includes(':') ? shortDigest(checksum) : checksum.slice(0, 12);
}

function figures({ layers, packages, packageNames, content }: Difference): string {
  const list: string[] = [];
  if (layers !== null) {
    const share = layers.total.bytes === 0 ? 0 : Math.round((100 * layers.added.bytes) / layers.total.bytes);
    const note = `${layers.added.layers} of ${layers.total.layers} layers, ${share} % of ${formatBytes(layers.total.bytes)}`;
    list.push(figure(formatBytes(layers.added.bytes), 'to pull', note, 'pull'));
  }
  if (packages !== null) {
    const downgrades = packages.updated.filter(({ direction }) => direction === 'downgrade').length;
    list.push(
      figure(
        String(packages.updated.length),
        'updated',
        downgrades === 0 ? `${packages.unchanged} unchanged` : `${downgrades} of them to an older version`,
        downgrades === 0 ? 'updated' : 'updated downgraded',
      ),
      figure(String(packages.added.length), 'added', installed(packages.added), 'added'),
      figure(String(packages.removed.length), 'removed', installed(packages.removed), 'removed'),
    );
  } else if (packageNames !== null) {
    list.push(
      figure(String(packageNames.added.length), 'added', 'by names in the layers', 'added'),
      figure(String(packageNames.removed.length), 'removed', 'by names in the layers', 'removed'),
    );
  }
  if (content !== null) {
    list.push(
      figure(formatBytes(content.added.bytes), 'new content', `${content.added.objects} files, uncompressed`, ''),
    );
  }
  return list.join('\n');
}

function figure(value: string, title: string, note: string, kind: string): string {
  return `<div class="figure ${kind}"><b>${escape(value)}</b><span>${escape(title)}</span><small>${escape(note)}</small></div>`;
}

function installed(packages: readonly { readonly size: number }[]): string {
  return packages.length === 0 ? '' : `${formatBytes(packages.reduce((sum, { size }) => sum + size, 0))} installed`;
}

/** Each layer of the new image as a block as wide as it is large, those to pull first. */
function layerStrip({ layers }: Difference): string {
  if (layers === null) return '';
  const [toPull, shared] = [true, false].map((isNew) => layers.layers.filter((layer) => layer.isNew === isNew));
  const blocks = [...largestFirst(toPull ?? []), ...largestFirst(shared ?? [])].map(
    (layer) =>
      `<i class="${layer.isNew ? 'new' : 'shared'}" style="flex-grow:${layer.size}" title="${escape(`${formatBytes(layer.size)}${layer.isNew ? ', to pull' : ', shared'}: ${layerName(layer)}`)}"></i>`,
  );
  return `<section><h2>Layers of the new image, by size</h2><div class="strip">${blocks.join('')}</div>
<p class="legend"><i class="new"></i> to pull, ${formatBytes(layers.added.bytes)} <i class="shared"></i> shared, ${formatBytes(layers.shared.bytes)}</p></section>`;
}

function packageTable({ packages }: Difference): string {
  if (packages === null) return '';
  const updates = (wanted: boolean): readonly string[] =>
    packages.updated
      .filter(({ direction }) => (direction === 'downgrade') === wanted)
      .map(({ before, after, direction }) =>
        row(
          direction === 'downgrade' ? 'downgraded' : 'updated',
          before.name === after.name ? escape(after.name) : `${escape(before.name)} → ${escape(after.name)}`,
          after.source,
          versions(before.version, after.version),
          after.size,
          after.size - before.size,
        ),
      );
  // What one would ask about comes first.
  const rows = [
    ...updates(true),
    ...packages.added.map(({ name, source, version, size }) =>
      row('added', escape(name), source, escape(version), size, size),
    ),
    ...packages.removed.map(({ name, source, version, size }) =>
      row('removed', escape(name), source, `<s>${escape(version)}</s>`, size, -size),
    ),
    ...updates(false),
  ];
  if (rows.length === 0) return '<section><h2>Packages</h2><p>All packages are the same.</p></section>';
  return `<section><h2>Packages</h2>
<input type="search" placeholder="Filter by name, source or version" aria-label="Filter packages" hidden>
<div class="scroll"><table class="packages"><thead><tr><th></th><th>Package</th><th>Source</th><th>Version</th><th class="number">Installed size</th><th class="number">Change</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div></section>`;
}

function row(kind: string, name: string, source: string, version: string, size: number, change: number): string {
  return `<tr class="${kind}"><td><span class="badge">${kind}</span></td><td>${name}</td><td class="quiet">${escape(source)}</td><td>${version}</td><td class="number">${formatBytes(size)}</td><td class="number">${escape(formatChange(change))}</td></tr>`;
}

/** What both versions begin with is quiet, so that the eye finds what differs. */
function versions(before: string, after: string): string {
  let same = 0;
  while (same < Math.min(before.length, after.length) && before[same] === after[same]) same++;
  // Numbers are not torn apart.
  while (same > 0 && /\d/.test(before[same - 1] ?? '')) same--;
  const mark = (text: string): string =>
    `<span class="version"><span class="quiet">${escape(text.slice(0, same))}</span>${escape(text.slice(same))}</span>`;
  return `${mark(before)} <span class="quiet">→</span> <b>${mark(after)}</b>`;
}

function packageNames({ packages, packageNames: names }: Difference): string {
  if (packages !== null) return '';
  if (names === null) return '<section><h2>Packages</h2><p>The packages of these images are not known.</p></section>';
  const list = (kind: string, items: readonly string[]): string =>
    items.map((name) => `<li class="${kind}"><span class="badge">${kind}</span> ${escape(name)}</li>`).join('\n');
  return `<section><h2>Packages</h2><p>By the names in the layers, which tell no versions. ${names.maybeUpdated.length} more are in layers that differ.</p>
<ul class="names">${list('added', names.added)}${list('removed', names.removed)}</ul></section>`;
}

function layerTable({ layers }: Difference): string {
  const toPull = largestFirst(layers?.layers.filter(({ isNew }) => isNew) ?? []);
  if (toPull.length === 0) return '';
  const rows = toPull.map(
    (layer) =>
      `<tr><td class="number">${formatBytes(layer.size)}</td><td>${layerContent(layer)}</td><td><code title="${escape(layer.digest)}">${escape(short(layer.digest))}</code></td></tr>`,
  );
  return `<section><h2>Layers to pull</h2>
<div class="scroll"><table><thead><tr><th class="number">Compressed</th><th>Packages; in bold what changed, struck through what is gone</th><th>Digest</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div></section>`;
}

function layerContent(layer: ComparedLayer): string {
  const { components = [], changed, gone } = layer;
  if (components.length === 0) return escape(layerName(layer));
  const others = components.filter((name) => !changed.includes(name));
  const shown = others.slice(0, MAX_UNCHANGED_NAMES).map(escape);
  const more = others.length > shown.length ? [`${others.length - shown.length} more`] : [];
  const rest = [...shown, ...more].join(', ');
  const bold = changed.map((name) => `<b>${escape(name)}</b>`).join(', ');
  const lost = gone.map((name) => ` <s>${escape(name)}</s>`).join(',');
  return `${bold}${bold !== '' && rest !== '' ? ', ' : ''}<span class="quiet">${rest}</span>${lost}`;
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
