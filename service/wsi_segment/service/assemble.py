"""The parts of a service, assembled from its settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from wsi_segment.service.api.access.credentials import may_be_told
from wsi_segment.service.api.access.sessions import Sessions
from wsi_segment.service.api.access.signed_links import SignedLinks
from wsi_segment.service.api.feed import Feed
from wsi_segment.service.api.mask_tiles import MaskTiles
from wsi_segment.service.api.observing.job_ends import JobEnds
from wsi_segment.service.api.observing.prometheus import Metrics
from wsi_segment.service.api.service import Service
from wsi_segment.service.api.slide_details import SlideDetails
from wsi_segment.service.api.tile_line import TileLine
from wsi_segment.service.api.viewing.growing_masks import GrowingMasks
from wsi_segment.service.folders.adopted_masks import AdoptedMasks
from wsi_segment.service.folders.file_looks import FileLooks
from wsi_segment.service.folders.root_watch import RootWatch
from wsi_segment.service.folders.slide_roots import Root
from wsi_segment.service.folders.uploads import Uploads
from wsi_segment.service.hooks.allowed_hosts import AllowedHosts
from wsi_segment.service.hooks.deliveries import Deliveries
from wsi_segment.service.hooks.hook_table import Hooks
from wsi_segment.service.jobs.actions import Actions
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.housekeeping import Housekeeping
from wsi_segment.service.jobs.job_table import Jobs
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.jobs.outbox import Outbox
from wsi_segment.service.settings import Settings
from wsi_segment.service.workers.slide_catalogue import Catalogue, read_secret
from wsi_segment.service.workers.slide_pool import PixelPool
from wsi_segment.service.workers.supervisor import Supervisor
from wsi_segment.service.workers.trusted_models import TrustedModels

_POOL_PROCESSES = 2
_POOL_MEMORY = 2 << 30


def make_service(
    settings: Settings,
    database: Database,
    roots: Sequence[Root],
    supervisor: Supervisor,
    root_watch: RootWatch,
    looks: FileLooks,
) -> Service:
    """Assemble a service.

    Args:
        settings: With an absolute data folder.
        database: With tables of this version.
        roots: Folders and addresses of slides.
        supervisor: Supervisor of the workers.
        root_watch: Says which roots are there.
        looks: Looks at files that may not answer.

    Raises:
        InputError: a setting cannot be used.
    """
    models = TrustedModels(settings.models, looks)
    models.check()
    jobs = Jobs(database)
    adopted = AdoptedMasks(database, settings.results, looks)
    adopted.follow()
    uploads = Uploads(database, settings.data, settings.uploads_total)
    outbox, hook_hosts = Outbox(database), AllowedHosts.parse(settings.hook_host)
    metrics = Metrics(jobs, supervisor, database, data=settings.data, outbox=outbox)
    keys, secret = Keys(database), read_secret(settings.data)
    hooks = Hooks(database, secret)
    return Service(
        settings=settings,
        database=database,
        jobs=jobs,
        keys=keys,
        sessions=Sessions(database, keys, secret),
        links=SignedLinks(secret),
        catalogue=Catalogue(
            database=database, roots=roots, secret=secret, looks=looks, refuse_away=root_watch.refuse_away
        ),
        models=models,
        pool=PixelPool(_POOL_PROCESSES, _POOL_MEMORY),
        supervisor=supervisor,
        feed=Feed(database, JobEnds(jobs, Actions(database), metrics).note),
        housekeeping=Housekeeping(
            database=database,
            data=settings.data,
            keep_days=settings.keep_days,
            min_free=settings.min_free,
            tidy_uploads=uploads.tidy,
        ),
        metrics=metrics,
        masks=MaskTiles(),
        growing=GrowingMasks(),
        roots=root_watch,
        adopted=adopted,
        uploads=uploads,
        tile_line=TileLine(),
        details=SlideDetails(),
        hooks=hooks,
        hook_hosts=hook_hosts,
        outbox=outbox,
        deliveries=Deliveries(
            hooks,
            outbox,
            hook_hosts,
            authority=settings.hook_ca,
            permits=partial(may_be_told, database, keys),
            count=metrics.hook,
        ),
    )
