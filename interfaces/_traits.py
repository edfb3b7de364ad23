"""Kinds of inputs that nodes share."""

from nipype.interfaces.base import File


class InputFile(File):
    """A file by its absolute path, however it was given: a node runs in a folder of its own.

    Links are kept, unlike with Nipype's `resolve`: the name that a user knows stays in
    messages, and its suffix, which tells the format, where data lie in a store such as
    git-annex.
    """

    def validate(self, objekt, name, value, return_pathlike=False):
        path = super().validate(objekt, name, value, return_pathlike=True).absolute()
        return path if return_pathlike else str(path)
