/** Puts three versions of an operating system into a registry, the way a distributor and then a platform team would. */
import { deriveImage, manifestDigest } from './derived-image.ts';
import type { LayerFile } from './derived-image.ts';
import type { OSRepository } from './os-repository.ts';
import { treeline, withSignal } from './treeline-command.ts';

export type OSVersion = 1 | 2 | 3;

export interface PublishedVersion {
  /** `127.0.0.1:PORT/NAME:VERSION` */
  readonly reference: string;
  readonly digest: string;
}

export interface PublishedOS {
  readonly name: string;
  readonly versions: Readonly<Record<OSVersion, PublishedVersion>>;
}

export interface PublicationOptions {
  /** Where to; plain HTTP, no credentials. */
  readonly registry: { readonly host: string; readonly url: string };
  /** Told before each version. */
  readonly say?: (sentence: string) => void;
  readonly signal?: AbortSignal;
}

/** Version 3 is version 2 and one ordinary layer: a file more, a changed file of /etc, a file less. */
function derivedFiles(repository: OSRepository): readonly LayerFile[] {
  return [
    { path: 'usr/share/treeline/added-by-version-3', content: 'A file that only version 3 has.\n' },
    { path: 'etc/motd', content: 'Version 3: version 2 with a layer of our own.\n' },
    repository.name === 'small'
      ? { path: 'usr/share/legacy/.wh.readme', content: '' }
      : { path: 'usr/lib/.wh.treeline-testbed-release', content: '' },
  ];
}

/** Versions 1 and 2 are written by `treeline encapsulate`, version 3 is derived from 2. Repeating it changes nothing. */
export async function publishOS(repository: OSRepository, options: PublicationOptions): Promise<PublishedOS> {
  const { registry, say = () => undefined } = options;
  const { name } = repository;
  const published = async (version: OSVersion): Promise<PublishedVersion> => ({
    reference: `${registry.host}/${name}:${version}`,
    digest: await manifestDigest(registry.url, name, String(version)),
  });
  const encapsulate = async (version: 1 | 2): Promise<PublishedVersion> => {
    say(`Writing version ${version} of ${name} into the registry with treeline encapsulate.`);
    const destination = `docker://${registry.host}/${name}:${version}`;
    await treeline(
      [
        'encapsulate',
        '--plain-http',
        registry.host,
        '--repo',
        repository.path,
        repository.branches[version],
        destination,
      ],
      withSignal(options.signal),
    );
    return published(version);
  };
  const [first, second] = await Promise.all([encapsulate(1), encapsulate(2)]);
  say(`Deriving version 3 of ${name} from version 2 with one ordinary layer.`);
  await deriveImage({
    registryUrl: registry.url,
    repository: name,
    baseTag: '2',
    tag: '3',
    files: derivedFiles(repository),
    labels: { 'org.opencontainers.image.version': '3' },
    createdBy: 'COPY . /',
  });
  return { name, versions: { 1: first, 2: second, 3: await published(3) } };
}
