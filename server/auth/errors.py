"""What authentication and authorization refuse; etcd's Err... values of server/auth/store.go.

The classes carry data only; code and text that a client reads are in `server.status`. Whenever one
is raised, users, roles and tokens are as they were before.
"""

from __future__ import annotations


class AuthError(Exception):
    """A request refused for who asks, or for what it would make of users and roles."""


class AuthNotEnabledError(AuthError):
    """Somebody logs in where nobody has to."""


class AuthFailedError(AuthError):
    """No such user, or not its password: which of the two is not told."""


class NoPasswordError(AuthError):
    """A user that comes in by certificate only shows a password; or a hash is not base64."""


class InvalidTokenError(AuthError):
    """A token that was never given out, has run out, or was taken back."""


class OldAuthRevisionError(AuthError):
    """The token was made before users or roles last changed."""


class PermissionDeniedError(AuthError):
    """The user may not do it."""


class UserEmptyError(AuthError):
    """Nobody asks: there is no token and no certificate. Or a user without a name is to be made."""


class RootUserMissingError(AuthError):
    """Without the user root nobody could manage what is about to be enabled."""


class RootRoleMissingError(AuthError):
    """The user root does not have the role root."""


class UserExistsError(AuthError):
    """The name is taken."""


class UserNotFoundError(AuthError):
    """No user of that name."""


class RoleEmptyError(AuthError):
    """A role without a name."""


class RoleExistsError(AuthError):
    """The name is taken."""


class RoleNotFoundError(AuthError):
    """No role of that name."""


class RoleNotGrantedError(AuthError):
    """The user does not have the role that is to be taken away."""


class PermissionNotGivenError(AuthError):
    """A request to grant a permission that names none."""


class PermissionNotGrantedError(AuthError):
    """The role does not have the permission that is to be taken away."""


class InvalidManagementError(AuthError):
    """It would shut root out, or grant a range that is none."""


class PasswordTooLongError(AuthError):
    """bcrypt looks at 72 bytes; a longer password would be cut off in silence."""


class VerifyOnlyError(AuthError):
    """There is a key to check tokens with, and none to sign them."""
