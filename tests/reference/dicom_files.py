"""Writes small DICOM series with awkward affines."""

import numpy as np
import SimpleITK as sitk  # noqa: N813


def write_series(folder, voxels, affine, uid="1.2.3", description="", order=None):
    """Write an int16 array on its native grid, a file for each slice, in any order of file names."""
    folder.mkdir(parents=True, exist_ok=True)
    world = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    direction = world[:3, :3] / spacing
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for name, z in enumerate(order or range(voxels.shape[2])):
        image = sitk.GetImageFromArray(np.ascontiguousarray(voxels[:, :, z].T))
        image.SetSpacing(spacing[:2].tolist())
        position = world[:3, :3] @ [0, 0, z] + world[:3, 3]
        tags = {
            "0008|0060": "MR",
            "0008|103e": description,
            "0020|000d": "1.2.0",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{z + 1}",
            "0020|0013": str(z),
            "0020|0032": "\\".join(f"{v:.8f}" for v in position),
            "0020|0037": "\\".join(f"{v:.8f}" for v in [*direction[:, 0], *direction[:, 1]]),
            "0018|0050": f"{spacing[2]:.8f}",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{uid}-{name}.dcm"))
        writer.Execute(image)
