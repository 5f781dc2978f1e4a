import { useQueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from 'react';
import { api, sessionBegun, take, whenSessionEnds } from './client';
import type { Me, Role } from './types';

interface Session {
  /** Who is logged in; kept while the session has ended, so that the page stays. */
  me: Me | undefined;
  /** The county has ended the session: log in again over the page. */
  ended: boolean;
  loading: boolean;
  logIn: (login: string, password: string, totp: string) => Promise<Me>;
  logOut: () => Promise<void>;
  can: (...roles: Role[]) => boolean;
}

const Context = createContext<Session | undefined>(undefined);

export function SessionProvider({ children }: { children: ReactNode }) {
  const cache = useQueryClient();
  const [me, setMe] = useState<Me>();
  const [ended, setEnded] = useState(false);
  const [loading, setLoading] = useState(true);

  useEffect(() => {
    whenSessionEnds(() => setEnded(true));
    take(api.GET('/api/v1/session'))
      .then(setMe, () => undefined)
      .finally(() => setLoading(false));
  }, []);

  const logIn = useCallback(
    async (login: string, password: string, totp: string) => {
      const next = await take(api.POST('/api/v1/session', { body: { login, password, totp: totp || null } }));
      sessionBegun();
      setMe(next);
      setEnded(false);
      // The page is there at once; what it shows is asked for again behind it.
      if (me?.id === next.id) void cache.invalidateQueries();
      else cache.clear();
      return next;
    },
    [cache, me?.id],
  );

  const logOut = useCallback(async () => {
    await take(api.DELETE('/api/v1/session')).catch(() => undefined);
    cache.clear();
    setMe(undefined);
    setEnded(false);
  }, [cache]);

  const value = useMemo<Session>(
    () => ({
      me, ended: ended && me !== undefined, loading, logIn, logOut,
      can: (...roles) => roles.some((role) => me?.roles.includes(role)),
    }),
    [me, ended, loading, logIn, logOut],
  );
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useSession(): Session {
  const value = useContext(Context);
  if (!value) throw new Error('no SessionProvider');
  return value;
}
