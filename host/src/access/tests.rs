use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn address() -> IpAddr {
    "192.168.0.9".parse().unwrap()
}

fn access(folder: &Path) -> Access {
    let policy = AccessPolicy {
        token: Some(Digest::of(TOKEN)),
        ..AccessPolicy::default()
    };
    Access::open(folder, policy).unwrap()
}

#[test]
fn tokens_are_kept_hashed_and_end_when_they_are_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path());
    let issued = access
        .new_token(" phone ", Scopes::from_iter([Scope::Download]))
        .unwrap();
    assert!(issued.secret.len() >= 32);
    let stored = std::fs::read_to_string(access.path()).unwrap();
    assert!(!stored.contains(&issued.secret) && stored.contains("phone"));
    let identity = access.token(&issued.secret, address()).unwrap();
    assert!(identity.scopes.allows(Scope::Download) && !identity.scopes.allows(Scope::Write));
    assert!(access.token(&format!("{}x", issued.secret), address()).is_err());
    assert!(access.revoke_token(&issued.entry.id).unwrap() && !access.revoke_token(&issued.entry.id).unwrap());
    assert!(access.token(&issued.secret, address()).is_err());
}

#[test]
fn the_token_of_the_settings_may_do_everything() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path());
    let identity = access.token(TOKEN, address()).unwrap();
    assert_eq!(
        (identity.principal, identity.scopes),
        (Principal::SettingsToken, Scopes::ALL)
    );
    assert!(access.login_required());
}

#[test]
fn a_session_lasts_over_a_restart_until_it_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let issued = access(folder.path()).begin_session("Firefox").unwrap();
    let access = access(folder.path());
    assert!(access.session(&issued.secret).is_some());
    assert!(access.session(&issued.secret.replace('.', ".0")).is_none());
    assert!(access.end_session(&issued.entry.id).unwrap());
    assert!(access.session(&issued.secret).is_none());
}

#[test]
fn a_session_that_nobody_used_for_a_month_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path());
    let issued = access.begin_session("Firefox").unwrap();
    let old = SESSION_IDLE.as_secs().cast_signed() + 10;
    access
        .update(|state| {
            state.sessions[0].last_used -= old;
            Ok(())
        })
        .unwrap();
    assert!(access.session(&issued.secret).is_none());
}

#[test]
fn a_new_password_ends_the_sessions_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path());
    let (own, other) = (access.begin_session("a").unwrap(), access.begin_session("b").unwrap());
    access.set_password("correct horse", Some(&own.entry.id)).unwrap();
    assert!(access.session(&own.secret).is_some() && access.session(&other.secret).is_none());
    assert!(access.log_in_by_password("correct horse", address(), "c").is_ok());
    assert!(matches!(
        access.log_in_by_password("wrong horse", address(), "c"),
        Err(LoginError::Wrong)
    ));
}

#[test]
fn a_login_link_works_once() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path());
    let first = access.new_login_code();
    let code = access.new_login_code();
    assert!(access.log_in_by_code(&first, address(), "").is_err());
    assert!(access.log_in_by_code(&code, address(), "").is_ok());
    assert!(access.log_in_by_code(&code, address(), "").is_err());
}

#[test]
fn guesses_are_slowed_while_tokens_that_the_server_made_still_open() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(folder.path());
    let issued = access.new_token("phone", Scopes::from_iter([Scope::Read])).unwrap();
    let slow = (0..20).any(|_| matches!(access.token("guess", address()), Err(LoginError::Slow(_))));
    assert!(slow);
    assert!(matches!(access.token(TOKEN, address()), Err(LoginError::Slow(_))));
    assert!(access.token(&issued.secret, address()).is_ok());
    assert!(access.token(TOKEN, "192.168.0.10".parse().unwrap()).is_ok());
    assert_eq!(access.failures()[0].address, address());
}

#[test]
fn what_another_process_changes_holds_here_too() {
    let folder = tempfile::tempdir().unwrap();
    let (server, command) = (access(folder.path()), access(folder.path()));
    let issued = command.new_token("phone", Scopes::from_iter([Scope::Read])).unwrap();
    assert!(server.token(&issued.secret, address()).is_err());
    server.synchronize(false).unwrap();
    assert!(server.token(&issued.secret, address()).is_ok());
    server.synchronize(true).unwrap();
    command.synchronize(false).unwrap();
    assert!(command.state().tokens[0].last_used.is_some());
}

#[test]
fn without_any_credential_no_other_machine_is_let_near() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::open(folder.path(), AccessPolicy::default()).unwrap();
    assert!(
        access
            .listen_on(&["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()])
            .is_ok()
    );
    assert!(!access.login_required());
    let message = access.listen_on(&["0.0.0.0".parse().unwrap()]).unwrap_err().to_string();
    assert!(
        message.contains("host password set") && message.contains("host token new"),
        "{message}"
    );
    assert!(access.login_required());
    access.set_password("correct horse", None).unwrap();
    assert!(access.listen_on(&["0.0.0.0".parse().unwrap()]).is_ok());
}

#[cfg(unix)]
#[test]
fn the_file_is_private_and_a_broken_one_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let own = access(folder.path());
    own.set_password("correct horse", None).unwrap();
    std::fs::set_permissions(own.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    own.begin_session("x").unwrap();
    assert_eq!(
        std::fs::metadata(own.path()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for broken in ["", "{", "[]", r#"{"tokens": [{"id": 1}]}"#] {
        std::fs::write(own.path(), broken).unwrap();
        let error = Access::open(folder.path(), AccessPolicy::default()).unwrap_err();
        assert!(error.to_string().contains("access.json"), "{error}");
    }
}
