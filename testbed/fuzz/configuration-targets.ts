/** Configuration files, of the host and of images. */
import { parseConfig } from '../../ostree/repository/config.ts';
import { keyFileBoolean, parseKeyFile } from '../../ostree/repository/key-file.ts';
import { parseRegistriesConf } from '../../registry/registries-conf.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';

const KEY_FILE =
  '[core]\nrepo_version=1\nmode=bare\nmin-free-space-percent=3\nmin-free-space-size=1GB\nfsync=false\n# c\n';
const REGISTRIES = `unqualified-search-registries = ["quay.io"]
short-name-mode = "enforcing"
[[registry]]
prefix = "*.example.com"
location = "internal/mirror"
insecure = true
blocked = false
mirror-by-digest-only = true
[[registry.mirror]]
location = "a.example.com:5000/b"
pull-from-mirror = "digest-only"
[aliases]
"fedora" = "registry.fedoraproject.org/fedora"
`;

const keyFiles: FuzzTarget = {
  name: 'key-files',
  round: (random) => {
    const text = random.damaged(Buffer.from(KEY_FILE)).toString();
    keyFileBoolean(parseKeyFile(text), 'core', 'fsync', true);
    attempt(['OstreeError'], () => parseConfig(text, '/repo'));
  },
};

const registriesFiles: FuzzTarget = {
  name: 'registries-conf',
  round: (random) => {
    const files = [REGISTRIES, REGISTRIES].map((text, at) => ({
      path: `/etc/${at}.conf`,
      text: random.damaged(Buffer.from(text)).toString(),
    }));
    attempt(['RegistryError'], () => parseRegistriesConf(files));
  },
};

export const CONFIGURATION_TARGETS = [keyFiles, registriesFiles];
