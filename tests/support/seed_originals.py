"""The original packages behind Django, to talk to: run as a program in an environment of their own.

Prints its port, serves until its input ends. Everything here is what a project using the packages
would have to write, and what they need to be imported today.
"""

import sys
import types
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


def configure(folder: Path) -> None:
    import django
    from django.conf import settings
    from django.utils import translation

    translation.ugettext = translation.gettext  # django-chunked-upload still asks for it
    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="originals_urls",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "rest_framework",
            "frago",
            "drf_chunked_upload",
            "chunked_upload",
            "originals",
        ],
        MIDDLEWARE=[],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "originals.db"}
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None},
        USE_TZ=True,
        TIME_ZONE="UTC",
        MEDIA_ROOT=str(folder / "media"),
        CHUNKED_UPLOADER_CHUNK_UPLOAD_PATH=str(folder / "frago_chunks"),
        CHUNKED_UPLOADER_ASSEMBLED_PATH=str(folder / "frago_assembled"),
        DRF_CHUNKED_UPLOAD_USER_RESTRICTED=False,
    )
    application = types.ModuleType("originals")
    application.__path__ = [str(folder)]
    sys.modules["originals"] = application
    django.setup()


def mount() -> None:
    """Make the urls and the tables (frago ships no migrations)."""
    from chunked_upload.views import ChunkedUploadCompleteView, ChunkedUploadView
    from django.core.management import call_command
    from django.db import connection
    from django.urls import include, path
    from drf_chunked_upload import models, serializers, views

    class ChunkedUpload(models.AbstractChunkedUpload):
        class Meta:
            app_label = "originals"

    class Serializer(serializers.ChunkedUploadSerializer):
        class Meta:
            model = ChunkedUpload
            fields = "__all__"
            read_only_fields = ("status", "completed_at")

    class View(views.ChunkedUploadView):
        model = ChunkedUpload
        serializer_class = Serializer

    urls = types.ModuleType("originals_urls")
    vars(urls)["urlpatterns"] = [
        path("compat/frago/", include("frago.urls")),
        path("compat/drf/upload/", View.as_view()),
        path("compat/drf/upload/<uuid:pk>", View.as_view(), name="chunkedupload-detail"),
        path("compat/django/upload/", ChunkedUploadView.as_view()),
        path("compat/django/upload_complete/", ChunkedUploadCompleteView.as_view()),
    ]
    sys.modules["originals_urls"] = urls
    call_command("migrate", run_syncdb=True, verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(ChunkedUpload)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def main() -> None:
    import threading

    folder = Path(sys.argv[1])
    configure(folder)
    mount()
    from django.core.wsgi import get_wsgi_application

    server = make_server(
        "127.0.0.1", 0, get_wsgi_application(), server_class=Threaded, handler_class=Quiet
    )
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
