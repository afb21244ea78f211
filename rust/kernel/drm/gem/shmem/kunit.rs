// SPDX-License-Identifier: GPL-2.0

//! Tests for sharing, mapping and finding shmem objects.

#[macros::kunit_tests(rust_drm_gem_shmem_sharing)]
mod tests {
    use super::super::*;
    use crate::{
        bindings,
        dma::DataDirection,
        dma_buf::DmaBuf,
        drm::{
            self,
            driver::AllocImpl,
            UnregisteredDevice, //
        },
        faux,
        fs::File,
        io::Io,
        page::PAGE_SIZE,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
        uaccess::{
            UserPtr,
            UserSlice, //
        },
    };

    /// The number of [`Live`]s.
    static LIVE: Atomic<i32> = Atomic::new(0);

    /// Counts how many objects' data there is. It shows if one is dropped twice, or not at all.
    struct Live;

    impl Live {
        fn new() -> Self {
            LIVE.add(1, Relaxed);
            Self
        }
    }

    impl Drop for Live {
        fn drop(&mut self) {
            LIVE.add(-1, Relaxed);
        }
    }

    #[pin_data]
    struct TestData {}

    struct TestFile<T: drm::Driver>(core::marker::PhantomData<T>);

    impl<T: drm::Driver> drm::file::DriverFile for TestFile<T> {
        type Driver = T;

        fn open(_dev: &Device<T>) -> Result<Pin<KBox<Self>>> {
            Err(ENODEV)
        }
    }

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"kunit-sharing",
        desc: c"KUnit",
    };

    /// A driver that relies on the defaults.
    struct PlainDriver;

    #[pin_data]
    struct PlainObject {
        _live: Live,
    }

    impl DriverObject for PlainObject {
        type Driver = PlainDriver;
        type Args = ();

        fn new(_: &Device<PlainDriver>, _: usize, (): ()) -> impl PinInit<Self, Error> {
            try_pin_init!(Self { _live: Live::new() })
        }
    }

    #[vtable]
    impl drm::Driver for PlainDriver {
        type Data = TestData;
        type RegistrationData<'a> = ();
        type File = TestFile<Self>;
        type Object = Object<PlainObject>;
        type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

        const INFO: drm::DriverInfo = INFO;
        const IOCTLS: &'static [drm::ioctl::DrmIoctlDescriptor] = &[];
    }

    /// An accel driver that takes imports.
    struct AccelDriver;

    #[pin_data]
    struct AccelObject {
        _live: Live,
        imported_size: Option<usize>,
    }

    impl DriverObject for AccelObject {
        type Driver = AccelDriver;
        type Args = ();

        fn new(_: &Device<AccelDriver>, _: usize, (): ()) -> impl PinInit<Self, Error> {
            try_pin_init!(Self {
                _live: Live::new(),
                imported_size: None,
            })
        }

        fn new_imported(_: &Device<AccelDriver>, size: usize) -> impl PinInit<Self, Error> {
            try_pin_init!(Self {
                _live: Live::new(),
                imported_size: Some(size),
            })
        }
    }

    #[vtable]
    impl drm::Driver for AccelDriver {
        type Data = TestData;
        type RegistrationData<'a> = ();
        type File = TestFile<Self>;
        type Object = Object<AccelObject>;
        type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

        const INFO: drm::DriverInfo = INFO;
        const IOCTLS: &'static [drm::ioctl::DrmIoctlDescriptor] = &[];
        const FEAT_COMPUTE_ACCEL: bool = cfg!(CONFIG_DRM_ACCEL);
    }

    /// A faux device that can do DMA.
    struct Bank(faux::Registration);

    impl AsRef<device::Device<Bound>> for Bank {
        fn as_ref(&self) -> &device::Device<Bound> {
            let fdev: &faux::Device<Bound> = self.0.as_ref();
            fdev.as_ref()
        }
    }

    impl Bank {
        fn new(name: &CStr) -> Result<Arc<Self>> {
            let bank = Arc::new(Self(faux::Registration::new(name, None)?), GFP_KERNEL)?;
            let dev = (*bank).as_ref().as_raw();

            // SAFETY: `dev` is valid, and not doing any DMA yet.
            unsafe {
                (*dev).coherent_dma_mask = u64::MAX;
                (*dev).dma_mask = &raw mut (*dev).coherent_dma_mask;
            }

            Ok(bank)
        }
    }

    struct TestDevice<T: drm::Driver>(UnregisteredDevice<T>, faux::Registration);

    impl<T: drm::Driver> Deref for TestDevice<T> {
        type Target = Device<T>;

        fn deref(&self) -> &Device<T> {
            &self.0
        }
    }

    fn test_device<T>(name: &CStr) -> Result<TestDevice<T>>
    where
        T: drm::Driver<Data = TestData, ParentDevice<Bound> = faux::Device<Bound>>,
    {
        let reg = faux::Registration::new(name, None)?;
        let drm = UnregisteredDevice::new(reg.as_ref(), try_pin_init!(TestData {}))?;

        Ok(TestDevice(drm, reg))
    }

    fn new_object<T: DriverObject<Args = ()>>(
        dev: &Device<T::Driver>,
        pages: usize,
    ) -> Result<ARef<Object<T>>> {
        Object::new(dev, pages * PAGE_SIZE, ObjectConfig::default(), ())
    }

    /// Returns the dma-buf of an exported file.
    fn dma_buf(file: &File) -> &DmaBuf {
        // SAFETY: The private data of a dma-buf's file is the dma-buf, which lives as long.
        unsafe { DmaBuf::from_raw((*file.as_ptr()).private_data.cast()) }
    }

    /// Drops a file, and everything that is freed with it.
    fn close(file: ARef<File>) {
        drop(file);
        // SAFETY: There are no requirements. Kernel threads close files in the background.
        unsafe { bindings::flush_delayed_fput() };
    }

    /// Imports `buf` the way the DRM core does.
    fn prime_import<T: DriverObject>(
        dev: &Device<T::Driver>,
        buf: &DmaBuf,
    ) -> Result<ARef<Object<T>>> {
        let import = Object::<T>::ALLOC_OPS.gem_prime_import.ok_or(EINVAL)?;

        // SAFETY: The arguments are valid.
        let obj = from_err_ptr(unsafe { import(dev.as_raw(), buf.as_raw()) })?;

        // SAFETY: This is a reference to an object of that driver.
        Ok(unsafe { ARef::from_raw(Object::<T>::from_raw(obj).into()) })
    }

    /// Whether the first page of an object would be written to swap before it is given up.
    fn is_dirty(obj: &Object<AccelObject>) -> Result<bool> {
        let shmem = obj.as_raw_shmem();

        // SAFETY: The object is valid, owns its pages, and is held by the caller.
        let _pages = unsafe { pinned::PinnedPages::new(shmem) }?;
        // SAFETY: The pages are pinned, and there is one at least.
        Ok(unsafe { bindings::folio_test_dirty(bindings::page_folio(*(*shmem).pages)) })
    }

    // What a device writes is not the CPU's doing, and no page fault tells of it.
    #[test]
    fn mapped_pages_are_dirty() -> Result {
        let dev = test_device::<AccelDriver>(c"kunit-drm")?;
        let bank = Bank::new(c"kunit-bank")?;
        let obj = new_object::<AccelObject>(&dev, 1)?;

        drop(DmaMapping::new(obj.clone(), bank)?);
        assert!(is_dirty(&obj)?);

        Ok(())
    }

    #[test]
    fn block_is_an_object_like_others() -> Result {
        let exporter = test_device::<AccelDriver>(c"kunit-exporter")?;
        let dev = test_device::<AccelDriver>(c"kunit-drm")?;
        let bank = Bank::new(c"kunit-bank")?;

        for size in [0, 1, PAGE_SIZE + 1] {
            let obj = Object::<AccelObject>::new_block(&exporter, size, ());
            assert_eq!(obj.err(), Some(EINVAL));
        }
        // Not to be had, and not by warning of it.
        let obj = Object::<AccelObject>::new_block(&exporter, 1 << 30, ());
        assert_eq!(obj.err(), Some(ENOMEM));

        for pages in [1, 3, 16] {
            let obj = Object::<AccelObject>::new_block(&exporter, pages * PAGE_SIZE, ())?;
            assert_eq!(obj.size(), pages * PAGE_SIZE);
            assert!(!obj.is_imported());

            // Whether or not the device sees the caches, as shmem.
            let mapping = DmaMapping::new(obj.clone(), bank.clone())?;
            mapping.sync_for_device(0..obj.size(), DataDirection::ToDevice);
            mapping.sync_for_cpu(1..obj.size(), DataDirection::FromDevice);
            obj.begin_cpu_access(DataDirection::FromDevice);
            drop(mapping);

            // An importer has the exporter do it. It is contiguous.
            let file = obj.export()?;
            let import = prime_import::<AccelObject>(&dev, dma_buf(&file))?;
            assert!(import.is_imported());
            drop(DmaMapping::new(import, bank.clone())?);

            drop(obj);
            close(file);
        }
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn huge_pages_are_asked_for() -> Result {
        let dev = test_device::<AccelDriver>(c"kunit-drm")?;

        for _ in 0..2 {
            dev.0.use_huge_pages(drm::gem::HugePages::WithinSize)?;
            // SAFETY: The device is valid.
            #[cfg(CONFIG_TRANSPARENT_HUGEPAGE)]
            assert!(!unsafe { (*dev.as_raw()).huge_mnt }.is_null());
        }
        // It works with objects of any size.
        for pages in [1, 3, 512, 1027] {
            let bank = Bank::new(c"kunit-bank")?;
            let obj = new_object::<AccelObject>(&dev, pages)?;
            let mapping = DmaMapping::new(obj, bank);

            // Behind no IOMMU, what is not contiguous is refused.
            assert!(matches!(mapping.err(), None | Some(EOPNOTSUPP)));
        }

        Ok(())
    }

    #[test]
    fn size_is_checked() -> Result {
        let dev = test_device::<PlainDriver>(c"kunit-drm")?;

        for size in [0, 1, PAGE_SIZE - 1, PAGE_SIZE + 1] {
            let obj = Object::<PlainObject>::new(&dev, size, ObjectConfig::default(), ());
            assert_eq!(obj.err(), Some(EINVAL));
        }
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    // The driver's data exists once, and is dropped once, also if the object fails to initialize
    // after it was made: this one finds no place in the space of mmap offsets.
    #[test]
    fn failed_init_drops_once() -> Result {
        let dev = test_device::<PlainDriver>(c"kunit-drm")?;

        let obj = new_object::<PlainObject>(&dev, 1)?;
        assert_eq!(LIVE.load(Relaxed), 1);
        assert!(new_object::<PlainObject>(&dev, 1 << 30).is_err());
        assert_eq!(LIVE.load(Relaxed), 1);
        drop(obj);
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn no_objects_by_c_code() {
        fn assert_none(ops: driver::AllocOps) {
            assert!(ops.gem_create_object.is_none());
            assert!(ops.gem_prime_import_sg_table.is_none());
        }

        assert_none(Object::<PlainObject>::ALLOC_OPS);
        assert_none(Object::<AccelObject>::ALLOC_OPS);
    }

    #[test]
    fn dumb_buffers_are_refused() -> Result {
        #[cfg(CONFIG_DRM_ACCEL)]
        assert!(Object::<AccelObject>::ALLOC_OPS.dumb_create.is_none());

        let dev = test_device::<PlainDriver>(c"kunit-drm")?;
        let create = Object::<PlainObject>::ALLOC_OPS.dumb_create.ok_or(EINVAL)?;
        let mut args = bindings::drm_mode_create_dumb {
            width: 64,
            height: 64,
            bpp: 32,
            ..Zeroable::zeroed()
        };

        // SAFETY: The device and the arguments are valid. There is no file, but it is not needed
        // before there is an object.
        let ret = unsafe { create(ptr::null_mut(), dev.as_raw(), &mut args) };
        assert_eq!(ret, EOPNOTSUPP.to_errno());
        assert_eq!(args.handle, 0);
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn own_export_is_the_same_object() -> Result {
        let dev = test_device::<PlainDriver>(c"kunit-drm")?;
        let obj = new_object::<PlainObject>(&dev, 1)?;
        let file = obj.export()?;

        // Even a driver without support for imports takes its own objects back.
        let import = prime_import::<PlainObject>(&dev, dma_buf(&file))?;
        assert!(ptr::eq::<Object<_>>(&*import, &*obj));
        assert!(!import.is_imported());
        assert_eq!(LIVE.load(Relaxed), 1);

        // There is only one dma-buf per object.
        assert_eq!(obj.export().err(), Some(EBUSY));

        drop(obj);
        drop(import);
        assert_eq!(LIVE.load(Relaxed), 1);
        close(file);
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn import_is_refused_by_default() -> Result {
        let exporter = test_device::<AccelDriver>(c"kunit-exporter")?;
        let obj = new_object::<AccelObject>(&exporter, 1)?;
        let file = obj.export()?;

        let dev = test_device::<PlainDriver>(c"kunit-drm")?;
        let import = prime_import::<PlainObject>(&dev, dma_buf(&file));
        assert_eq!(import.err(), Some(EOPNOTSUPP));
        assert_eq!(LIVE.load(Relaxed), 1);

        drop(obj);
        close(file);
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn import_shares_memory() -> Result {
        let exporter = test_device::<PlainDriver>(c"kunit-exporter")?;
        let obj = new_object::<PlainObject>(&exporter, 2)?;
        let file = obj.export()?;

        let dev = test_device::<AccelDriver>(c"kunit-drm")?;
        let import = prime_import::<AccelObject>(&dev, dma_buf(&file))?;
        assert!(import.is_imported());
        assert_eq!(import.size(), 2 * PAGE_SIZE);
        assert_eq!(import.imported_size, Some(2 * PAGE_SIZE));
        assert_eq!(LIVE.load(Relaxed), 2);

        import.vmap::<PAGE_SIZE>()?.write32(0x12345678, 8);
        assert_eq!(obj.vmap::<PAGE_SIZE>()?.read32(8), 0x12345678);

        // An import has neither pages for a table, nor anything to export.
        let parent: &faux::Device<Bound> = dev.1.as_ref();
        assert_eq!(import.sg_table(parent.as_ref()).err(), Some(EOPNOTSUPP));
        assert_eq!(import.export().err(), Some(EINVAL));

        // The import keeps the memory of the exporter.
        drop(obj);
        close(file);
        assert_eq!(LIVE.load(Relaxed), 2);
        assert_eq!(import.vmap::<PAGE_SIZE>()?.read32(8), 0x12345678);

        drop(import);
        // SAFETY: There are no requirements.
        unsafe { bindings::flush_delayed_fput() };
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn dma_mapping() -> Result {
        let bank = Bank::new(c"kunit-bank")?;
        let dev = test_device::<PlainDriver>(c"kunit-drm")?;
        let obj = new_object::<PlainObject>(&dev, 1)?;
        obj.vmap::<PAGE_SIZE>()?.write32(0xfeedf00d, 4);

        let mapping = DmaMapping::new(obj.clone(), bank.clone())?;
        assert_eq!(mapping.size(), PAGE_SIZE);
        assert_eq!(mapping.dma_address() % PAGE_SIZE as u64, 0);
        assert!(ptr::eq(mapping.object(), &*obj));

        // A second mapping pins the same page.
        let again = DmaMapping::new(obj.clone(), Bank::new(c"kunit-bank2")?)?;
        assert_eq!(again.dma_address(), mapping.dma_address());

        // The mappings keep the object, and its contents.
        drop(obj);
        drop(again);
        assert_eq!(mapping.object().vmap::<PAGE_SIZE>()?.read32(4), 0xfeedf00d);
        drop(mapping);
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn dma_mapping_needs_a_mask() -> Result {
        let bank = Arc::new(
            Bank(faux::Registration::new(c"kunit-bank", None)?),
            GFP_KERNEL,
        )?;
        let dev = test_device::<PlainDriver>(c"kunit-drm")?;
        let obj = new_object::<PlainObject>(&dev, 1)?;
        assert_eq!(DmaMapping::new(obj, bank).err(), Some(EINVAL));
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    #[test]
    fn dma_mapping_of_import() -> Result {
        let exporter = test_device::<PlainDriver>(c"kunit-exporter")?;
        let obj = new_object::<PlainObject>(&exporter, 1)?;
        let file = obj.export()?;
        let dev = test_device::<AccelDriver>(c"kunit-drm")?;
        let import = Object::<AccelObject>::import(&dev, dma_buf(&file))?;

        let bank = Bank::new(c"kunit-bank")?;
        let own = DmaMapping::new(obj.clone(), bank.clone())?;
        let mapping = DmaMapping::new(import.clone(), bank)?;
        assert_eq!(mapping.size(), PAGE_SIZE);
        assert_eq!(mapping.dma_address(), own.dma_address());

        drop(own);
        drop(obj);
        close(file);
        drop(import);
        assert_eq!(LIVE.load(Relaxed), 2);
        drop(mapping);
        // SAFETY: There are no requirements.
        unsafe { bindings::flush_delayed_fput() };
        assert_eq!(LIVE.load(Relaxed), 0);

        Ok(())
    }

    /// A shared mapping of a file in the address space of the test.
    struct UserMapping(usize, usize);

    impl UserMapping {
        fn new(file: &File, offset: usize, size: usize) -> Result<Self> {
            // SAFETY: There are no requirements, other than being a KUnit test.
            to_result(unsafe { bindings::kunit_attach_mm() })?;

            // SAFETY: `file` is valid.
            let addr = unsafe {
                bindings::vm_mmap(
                    file.as_ptr(),
                    0,
                    size,
                    (bindings::PROT_READ | bindings::PROT_WRITE) as usize,
                    bindings::MAP_SHARED as usize,
                    offset,
                )
            };
            from_err_ptr(ptr::without_provenance_mut::<u8>(addr))?;

            Ok(Self(addr, size))
        }

        fn unmap(&self, offset: usize, size: usize) {
            // SAFETY: There are no requirements on what user space is unmapped.
            unsafe { bindings::vm_munmap(self.0 + offset, size) };
        }

        fn read(&self, offset: usize) -> Result<u8> {
            UserSlice::new(UserPtr::from_addr(self.0 + offset), 1)
                .reader()
                .read()
        }
    }

    impl Drop for UserMapping {
        fn drop(&mut self) {
            self.unmap(0, self.1);
        }
    }

    // Whatever way it is mapped, the offset must be that of the memory which is seen.
    #[test]
    fn vma_offset() -> Result {
        const PAGES: usize = 4;

        let exporter = test_device::<PlainDriver>(c"kunit-exporter")?;
        let obj = new_object::<PlainObject>(&exporter, PAGES)?;
        let other = new_object::<PlainObject>(&exporter, PAGES)?;
        let vmap = obj.vmap::<{ PAGES * PAGE_SIZE }>()?;
        for page in 0..PAGES {
            vmap.try_write8(page as u8 + 1, page * PAGE_SIZE)?;
        }

        // There is no user address space so far.
        assert_eq!(obj.vma_offset(PAGE_SIZE), Err(EFAULT));

        let file = obj.export()?;
        let dev = test_device::<AccelDriver>(c"kunit-drm")?;
        let import = Object::<AccelObject>::import(&dev, dma_buf(&file))?;
        let offsets = |addr| (obj.vma_offset(addr), import.vma_offset(addr));

        let user = UserMapping::new(&file, 0, PAGES * PAGE_SIZE)?;
        assert_eq!(offsets(user.0), (Ok(0), Ok(0)));
        let addr = user.0 + 2 * PAGE_SIZE + 5;
        assert_eq!(offsets(addr).0, Ok(2 * PAGE_SIZE + 5));
        assert_eq!(offsets(addr).1, Ok(2 * PAGE_SIZE + 5));
        assert_eq!(user.read(2 * PAGE_SIZE)?, 3);
        assert_eq!(other.vma_offset(addr), Err(EINVAL));

        // Without its first page. The last one has not been touched before.
        user.unmap(0, PAGE_SIZE);
        assert_eq!(offsets(user.0), (Err(EFAULT), Err(EFAULT)));
        let last = (PAGES - 1) * PAGE_SIZE;
        assert_eq!(offsets(user.0 + last), (Ok(last), Ok(last)));
        assert_eq!(user.read(last)?, PAGES as u8);

        // Only the end of it.
        let end = UserMapping::new(&file, last, PAGE_SIZE)?;
        assert_eq!(offsets(end.0 + 1), (Ok(last + 1), Ok(last + 1)));
        assert_eq!(end.read(0)?, PAGES as u8);

        // A mapping of some other file.
        let other_file = other.export()?;
        let foreign = UserMapping::new(&other_file, 0, PAGE_SIZE)?;
        assert_eq!(offsets(foreign.0), (Err(EINVAL), Err(EINVAL)));
        assert_eq!(other.vma_offset(foreign.0), Ok(0));

        Ok(())
    }
}
