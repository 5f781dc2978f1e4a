import { App, Button, Result, Spin } from 'antd';
import { Redirect, Route, Switch, useLocation } from 'wouter';
import { useSession } from './api/session';
import { useI18n } from './i18n';
import { LoginAgain } from './login/again';
import { LoginPage } from './login/login-page';
import { MonitorPage } from './monitor/monitor-page';
import { PriorPage } from './reading/prior-page';
import { StudyPage } from './reading/study-page';
import { Header } from './ui/header';
import { Themed } from './ui/theme';
import { WorklistPage } from './worklist/worklist-page';

/** Which page, by address and role. The study pages are dark. */
export function Pages() {
  const [path] = useLocation();
  const { me, loading } = useSession();
  const dark = me !== undefined && /^\/(study|prior)\//.test(path);
  return (
    <Themed dark={dark}>
      <App className="app">
        {loading ? <Spin className="centre" size="large" /> : me ? <Inside /> : <LoginPage />}
        <LoginAgain />
      </App>
    </Themed>
  );
}

function Inside() {
  const { t, word } = useI18n();
  const { me, can } = useSession();
  const [, go] = useLocation();
  const reads = can('reader', 'reviewer', 'clinician');
  const watches = can('monitor', 'administrator');
  if (!reads && !watches) {
    const roles = me?.roles.map((role) => word('role', role)).join(', ') ?? '';
    return <><Header /><Result status="403" title={t('app.noPage', { roles })} /></>;
  }
  return (
    <Switch>
      <Route path="/">{reads ? <WorklistPage /> : <Redirect to="/monitor" />}</Route>
      {reads && <Route path="/study/:item">{({ item }) => <StudyPage key={item} item={Number(item)} />}</Route>}
      {reads && (
        <Route path="/prior/:clinic/:uid">{({ clinic, uid }) => <PriorPage key={uid} clinic={clinic} uid={uid} />}</Route>
      )}
      {watches && <Route path="/monitor"><MonitorPage /></Route>}
      <Route>
        <Result status="404" title={t('app.notFound')} extra={<Button onClick={() => go('/')}>{t('app.back')}</Button>} />
      </Route>
    </Switch>
  );
}
