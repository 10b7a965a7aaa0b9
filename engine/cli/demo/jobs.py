"""The jobs of the demo: one of every type, on real input. Uses JobQueueService and nothing behind it."""

from __future__ import annotations

from pathlib import Path

from engine.model.payloads import FileOptions, FileProcessingJobData, SmsJobData
from engine.service.service import JobQueueService

TENANT = "1"


async def add_all(service: JobQueueService) -> list[tuple[str, str, str]]:
    """Add one job of every type, two of some: (type, description, id)."""
    sms = SmsJobData(sub_account_id=TENANT, phone_numbers=["+15550100", "+15550101"], message="Hello from Corral!")
    email = {
        "subAccountId": TENANT,
        "to": ["ada@example.com", "grace@example.com"],
        "subject": "Welcome",
        "template": "welcome-email",
        "templateData": {"name": "Ada"},
    }
    export = {
        "subAccountId": TENANT,
        "exportType": "leads",
        "format": "csv",
        "filters": {"status": "qualified"},
        "columns": ["id", "name", "email", "phone"],
    }
    thumbnail = FileProcessingJobData(
        sub_account_id=TENANT, operation="thumbnail", files=["photo.jpg"], options=FileOptions(width=320, height=240)
    )
    archive = FileProcessingJobData(
        sub_account_id=TENANT, operation="zip", files=["photo.jpg", "notes.txt"], output="photos.zip"
    )
    context = {"subAccountId": TENANT}
    sync = service.execute_service_method("Sync Contacts", "ContactsService", "sync", [42], context)
    report = service.execute_task("Generate Report", "generateReport", ["leads", {"status": "qualified"}], context)
    return [
        ("email", "welcome to 2", await service.add_job("email", email, priority=10)),
        ("sms", "text to 2", await service.add_job("sms", sms, retries=3)),
        ("data-export", "leads as csv", await service.add_job("data-export", export)),
        ("file-processing", "thumbnail", await service.add_job("file-processing", thumbnail)),
        ("file-processing", "zip", await service.add_job("file-processing", archive, delay=500)),
        ("generic-task", "service method", await sync),
        ("generic-task", "function", await report),
    ]


def draw(path: Path) -> None:
    """Make a picture like a camera's: large, in colour, with a rotation in its EXIF data."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    size = (1600, 1200)
    across, down = Image.linear_gradient("L").rotate(90).resize(size), Image.linear_gradient("L").resize(size)
    picture = Image.merge("RGB", (across, down, Image.radial_gradient("L").resize(size)))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    picture.save(path, quality=92, exif=exif)
