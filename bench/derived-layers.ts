/**
 * The layers that somebody's Containerfile puts on the benchmark's operating system: packages installed and upgraded,
 * configuration, packages removed. Sizes and counts as a small `dnf install` has them.
 */
import { basename, dirname, join } from 'node:path';
import type { LayerFile } from '../testbed/derived-image.ts';
import {
  libraryPath,
  SETTING_EVERY,
  settingPath,
  textFileCount,
  textPath,
  TOOL_EVERY,
  type TreeShape,
} from './os-tree.ts';
import { binaryContent, SeededRandom, textContent } from './random-content.ts';

export interface DerivedLayer {
  readonly createdBy: string;
  readonly files: readonly LayerFile[];
}

const INSTALLED_FILES = 400;
const INSTALLED_PACKAGES = 12;
const UPGRADED_LIBRARIES = 200;
const CHANGED_SETTINGS = 60;
const REMOVED_TEXTS = 150;
const REPLACED_FOLDERS = 3;
/** Up to twice these: sizes are spread evenly. */
const MEAN_BINARY_BYTES = 120_000;
const MEAN_TEXT_BYTES = 6_000;
/** The package database is one large file that every installation rewrites. */
const DATABASE_BYTES = 8_000_000;

/** Three layers for a tree that `writeTree` made of `shape`; the same bytes every time. */
export function derivedLayers(shape: TreeShape): readonly DerivedLayer[] {
  const random = new SeededRandom(2);
  return [
    { createdBy: 'RUN install and upgrade packages', files: packages(random, shape) },
    { createdBy: 'COPY site configuration', files: configuration(random, shape) },
    { createdBy: 'RUN remove documentation', files: removals(random, shape) },
  ];
}

function packages(random: SeededRandom, shape: TreeShape): readonly LayerFile[] {
  const files: LayerFile[] = [];
  for (let index = 0; index < INSTALLED_FILES; index++) {
    const folder = `added-${index % INSTALLED_PACKAGES}`;
    if (index % 3 === 0) files.push(library(random, `usr/lib/${folder}/lib-${index}.so.2`));
    else files.push(text(random, `usr/share/${folder}/text-${index}`));
    if (index % 20 === 0) files.push(text(random, `etc/${folder}/added-${index}.conf`));
  }
  const libraries = Math.floor((shape.files - textFileCount(shape)) / TOOL_EVERY);
  for (let index = 0; index < Math.min(UPGRADED_LIBRARIES, libraries); index++) {
    files.push(library(random, libraryPath(index * TOOL_EVERY + 1)));
  }
  files.push({ path: 'usr/share/rpm/rpmdb.sqlite', content: binaryContent(random, DATABASE_BYTES) });
  return files;
}

function configuration(random: SeededRandom, shape: TreeShape): readonly LayerFile[] {
  const files: LayerFile[] = [];
  const settings = Math.floor(textFileCount(shape) / SETTING_EVERY);
  for (let index = 0; index < Math.min(CHANGED_SETTINGS, settings); index++) {
    files.push(text(random, settingPath(index * SETTING_EVERY)), {
      ...text(random, `etc/site/${index}.conf`),
      mode: 0o600,
    });
  }
  return files;
}

function removals(random: SeededRandom, shape: TreeShape): readonly LayerFile[] {
  const files: LayerFile[] = [];
  const documentation = Math.floor(textFileCount(shape) / SETTING_EVERY);
  for (let index = 0; index < Math.min(REMOVED_TEXTS, documentation); index++) {
    const path = textPath(index * SETTING_EVERY + 1);
    files.push({ path: join(dirname(path), `.wh.${basename(path)}`), content: '' });
  }
  for (let folder = 0; folder < REPLACED_FOLDERS; folder++) {
    files.push({ path: `usr/share/added-${folder}/.wh..wh..opq`, content: '' });
    files.push(text(random, `usr/share/added-${folder}/README`));
  }
  return files;
}

function library(random: SeededRandom, path: string): LayerFile {
  return { path, content: binaryContent(random, Math.floor(2 * MEAN_BINARY_BYTES * random.next())), mode: 0o755 };
}

function text(random: SeededRandom, path: string): LayerFile {
  return { path, content: textContent(random, Math.floor(2 * MEAN_TEXT_BYTES * random.next())) };
}
